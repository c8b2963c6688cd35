//! The fetcher against a scripted origin: one poll at a time, over real connections.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use demarche::fetch::{Answer, ErrorClass, FetchConfig, FetchError, Fetcher, Outcome, Request, Validators};
use support::{Origin, Response};
use url::Url;

const FEED: &str = "<rss><channel><title>x</title></channel></rss>";

fn config() -> FetchConfig {
    let mut config = demarche::config::load(None, []).unwrap().config.fetch;
    config.allow_net = vec!["127.0.0.0/8".into()];
    config
}

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

async fn fetch_with(config: &FetchConfig, url: &str, validators: &Validators) -> Result<Answer, FetchError> {
    let url = Url::parse(url).unwrap();
    let request = Request { url: &url, validators, credential: None };
    Fetcher::new(config).unwrap().fetch(&request, now()).await
}

async fn fetch(url: &str, validators: &Validators) -> Result<Answer, FetchError> {
    fetch_with(&config(), url, validators).await
}

async fn first(url: &str) -> Result<Answer, FetchError> {
    fetch(url, &Validators::default()).await
}

async fn class(config: &FetchConfig, url: &str) -> ErrorClass {
    fetch_with(config, url, &Validators::default()).await.unwrap_err().class()
}

fn body(answer: &Answer) -> &[u8] {
    match &answer.outcome {
        Outcome::Fresh { body, .. } => body,
        Outcome::NotModified => panic!("not modified"),
    }
}

#[tokio::test]
async fn rule_2_to_4_both_validators_go_back_exactly_as_they_came() {
    let origin = Origin::start();
    let odd_date = "Sun Mar  1 11:00 2026";
    origin.serve("/f", Response::feed(FEED).header("last-modified", odd_date).etag("W/\"a b\""));
    let answer = first(&origin.url("/f")).await.unwrap();
    assert!(!origin.requests("/f")[0].is_conditional());
    let again = fetch(&origin.url("/f"), &answer.validators).await.unwrap();
    assert_eq!(again.outcome, Outcome::NotModified);
    let second = &origin.requests("/f")[1];
    assert_eq!(second.header("if-none-match"), Some("W/\"a b\""));
    assert_eq!(second.header("if-modified-since"), Some(odd_date));
}

#[tokio::test]
async fn rule_3_nothing_is_invented_where_the_server_gave_nothing() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(FEED).header("date", "Sun, 01 Mar 2026 11:00:00 GMT"));
    let answer = first(&origin.url("/f")).await.unwrap();
    fetch(&origin.url("/f"), &answer.validators).await.unwrap();
    assert!(origin.requests("/f").iter().all(|seen| !seen.is_conditional()));
}

#[tokio::test]
async fn rule_5_and_7_a_200_replaces_the_validators_even_by_none() {
    let origin = Origin::start();
    origin.script(
        "/f",
        [
            Response::feed(FEED).header("etag", "\"1\"").header("last-modified", "then"),
            Response::feed(FEED).header("etag", "\"2\""),
            Response::feed(FEED),
        ],
    );
    let url = origin.url("/f");
    let one = first(&url).await.unwrap();
    let two = fetch(&url, &one.validators).await.unwrap();
    assert_eq!((two.validators.etag.as_deref(), two.validators.last_modified.as_deref()), (Some("\"2\""), None));
    let three = fetch(&url, &two.validators).await.unwrap();
    assert!(three.validators.is_empty());
}

#[tokio::test]
async fn rule_6_a_304_may_bring_newer_validators() {
    let origin = Origin::start();
    origin.serve("/f", Response::status(304).header("etag", "\"2\""));
    let url = origin.url("/f");
    let known = Validators { url: Some(url.clone()), etag: Some("\"1\"".into()), last_modified: Some("then".into()) };
    let answer = fetch(&url, &known).await.unwrap();
    let newer = Validators { etag: Some("\"2\"".into()), ..known };
    assert_eq!((answer.outcome, answer.validators), (Outcome::NotModified, newer));
}

#[tokio::test]
async fn rule_8_and_38_validators_belong_to_the_final_address() {
    let (here, there) = (Origin::start(), Origin::start());
    here.serve("/f", Response::redirect(302, &there.url("/g")));
    there.serve("/g", Response::feed(FEED).etag("\"1\""));
    let answer = first(&here.url("/f")).await.unwrap();
    assert_eq!(answer.validators.url, Some(there.url("/g")));
    assert_eq!(answer.final_url.as_str(), there.url("/g"));
    let again = fetch(&here.url("/f"), &answer.validators).await.unwrap();
    assert_eq!(again.outcome, Outcome::NotModified);
    assert!(!here.requests("/f")[1].is_conditional() && there.requests("/g")[1].is_conditional());
    // A changed address drops them.
    here.serve("/f", Response::redirect(302, &there.url("/h")));
    there.serve("/h", Response::feed(FEED));
    fetch(&here.url("/f"), &answer.validators).await.unwrap();
    assert!(!there.requests("/h")[0].is_conditional());
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_an_error() {
    let origin = Origin::start();
    origin.serve("/f", Response::status(304));
    assert_eq!(class(&config(), &origin.url("/f")).await, ErrorClass::Protocol);
}

#[tokio::test]
async fn rule_22_and_25_errors_carry_the_times_they_name() {
    let origin = Origin::start();
    let headers = [("retry-after", "120"), ("cache-control", "max-age=300")];
    let busy = headers.iter().fold(Response::status(503), |response, (name, value)| response.header(name, value));
    origin.serve("/f", busy);
    let error = first(&origin.url("/f")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
    assert_eq!(error.not_before(), Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn rule_24_nothing_is_retried_at_once() {
    let origin = Origin::start();
    for (path, response) in [
        ("/500", Response::status(500)),
        ("/429", Response::status(429)),
        ("/cut", Response::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")),
        ("/none", Response::raw("")),
    ] {
        origin.serve(path, response);
        first(&origin.url(path)).await.unwrap_err();
        assert_eq!(origin.requests(path).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn rule_26_to_28_statuses_have_their_classes() {
    let origin = Origin::start();
    for (status, class_of) in [
        (400, ErrorClass::HttpClient),
        (401, ErrorClass::Auth),
        (403, ErrorClass::Auth),
        (404, ErrorClass::NotFound),
        (410, ErrorClass::Gone),
        (429, ErrorClass::RateLimited),
        (500, ErrorClass::HttpServer),
        (503, ErrorClass::HttpServer),
        (204, ErrorClass::Protocol),
    ] {
        origin.serve("/f", Response::status(status));
        assert_eq!(class(&config(), &origin.url("/f")).await, class_of, "{status}");
    }
}

#[tokio::test]
async fn rule_30_an_untrusted_certificate_is_an_error() {
    let (origin, authority) = tls::origin(&["127.0.0.1"]);
    origin.serve("/f", Response::feed(FEED).etag("\"1\""));
    assert_eq!(class(&config(), &origin.url("/f")).await, ErrorClass::Tls);
    assert!(origin.all_requests().is_empty());
    let trusting = FetchConfig { ca_file: authority.path().into(), ..config() };
    assert!(fetch_with(&trusting, &origin.url("/f"), &Validators::default()).await.is_ok());
    // The right authority, but another name.
    let (stranger, authority) = tls::origin(&["other.example"]);
    let trusting = FetchConfig { ca_file: authority.path().into(), ..config() };
    assert_eq!(class(&trusting, &stranger.url("/f")).await, ErrorClass::Tls);
}

#[tokio::test]
async fn rule_36_a_redirect_from_https_to_http_is_refused() {
    let (origin, authority) = tls::origin(&["127.0.0.1"]);
    let plain = Origin::start();
    plain.serve("/f", Response::feed(FEED));
    origin.serve("/f", Response::redirect(301, &plain.url("/f")));
    let config = FetchConfig { ca_file: authority.path().into(), ..config() };
    assert_eq!(class(&config, &origin.url("/f")).await, ErrorClass::Redirect);
    assert!(plain.all_requests().is_empty());
}

#[tokio::test]
async fn rule_33_and_34_only_permanent_redirects_are_reported() {
    let origin = Origin::start();
    origin.serve("/new", Response::feed(FEED));
    for (status, permanent) in [(301, true), (308, true), (302, false), (303, false), (307, false)] {
        origin.serve("/old", Response::redirect(status, "/new"));
        let answer = first(&origin.url("/old")).await.unwrap();
        let target = permanent.then(|| Url::parse(&origin.url("/new")).unwrap());
        assert_eq!(answer.permanent_redirect, target, "{status}");
    }
}

#[tokio::test]
async fn rule_35_five_hops_and_no_more() {
    let origin = Origin::start();
    for hop in 0..9 {
        origin.serve(&format!("/{hop}"), Response::redirect(302, &format!("/{}", hop + 1)));
    }
    assert_eq!(class(&config(), &origin.url("/0")).await, ErrorClass::Redirect);
    assert_eq!(origin.all_requests().len(), 6);
    origin.serve("/5", Response::feed(FEED));
    assert!(first(&origin.url("/0")).await.is_ok());
    origin.serve("/round", Response::redirect(302, "/round"));
    assert_eq!(class(&config(), &origin.url("/round")).await, ErrorClass::Redirect);
}

#[tokio::test]
async fn rule_37_and_51_every_hop_is_guarded() {
    let (allowed, secret) = (Origin::start(), Origin::start());
    secret.serve("/admin", Response::feed(FEED));
    let mut config = config();
    let as_name = secret.url("/admin").replace("127.0.0.1", "localhost");
    // The first origin is allowed by its address; names and other literals that lead to loopback are not.
    config.allow_net = vec!["127.0.0.1/32".into()];
    let as_other = secret.url("/admin").replace("127.0.0.1", "127.0.0.2");
    let as_mapped = secret.url("/admin").replace("127.0.0.1", "[::ffff:127.0.0.1]");
    for target in [as_other, as_mapped, "http://169.254.169.254/latest".into(), "ftp://a.example/".into()] {
        allowed.serve("/f", Response::redirect(302, &target));
        assert_eq!(class(&config, &allowed.url("/f")).await, ErrorClass::BlockedAddress, "{target}");
    }
    config.allow_net.clear();
    for url in [allowed.url("/f"), as_name.clone()] {
        assert_eq!(class(&config, &url).await, ErrorClass::BlockedAddress, "{url}");
    }
    assert!(secret.all_requests().is_empty());
    config.allow_net = vec!["localhost".into()];
    assert!(fetch_with(&config, &as_name, &Validators::default()).await.is_ok());
}

#[tokio::test]
async fn rule_38_credentials_stay_with_their_origin() {
    let (here, there) = (Origin::start(), Origin::start());
    here.serve("/f", Response::redirect(302, &there.url("/g")));
    there.serve("/g", Response::feed(FEED));
    first(&here.url("/f").replace("http://", "http://me:s3cret@")).await.unwrap();
    assert_eq!(here.requests("/f")[0].header("authorization"), Some("Basic bWU6czNjcmV0"));
    assert_eq!(there.requests("/g")[0].header("authorization"), None);
}

#[tokio::test]
async fn rule_39_to_42_the_request_is_plain_and_says_who_asks_for_what() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(FEED).header("set-cookie", "a=b"));
    let config = FetchConfig { contact: "https://desk.example/bot".into(), ..config() };
    for _ in 0..2 {
        fetch_with(&config, &origin.url("/f"), &Validators::default()).await.unwrap();
    }
    let seen = origin.all_requests();
    assert_eq!(seen.len(), 2, "no HEAD first, no favicon");
    for request in &seen {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/f"));
        assert_eq!((request.header("cookie"), request.header("referer")), (None, None));
        let agent = format!("demarche/{} (+https://desk.example/bot)", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.header("user-agent"), Some(agent.as_str()));
        let accept = request.header("accept").unwrap();
        assert!(accept.starts_with("application/") && accept.ends_with("*/*;q=0.1"), "{accept}");
        let mut encodings: Vec<&str> = request.header("accept-encoding").unwrap().split(',').map(str::trim).collect();
        encodings.sort_unstable();
        assert_eq!(encodings, ["br", "deflate", "gzip", "zstd"]);
    }
}

#[tokio::test]
async fn rule_41_every_encoding_is_decoded() {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(FEED.as_bytes()).unwrap();
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut FEED.as_bytes(), &mut brotli, &Default::default()).unwrap();
    let zstd = zstd::encode_all(FEED.as_bytes(), 0).unwrap();
    let origin = Origin::start();
    origin.serve("/gzip", Response::feed(FEED).gzip());
    for (name, bytes) in [("deflate", zlib.finish().unwrap()), ("br", brotli), ("zstd", zstd)] {
        origin.serve(&format!("/{name}"), Response::feed(bytes).header("content-encoding", name));
    }
    for path in ["/gzip", "/deflate", "/br", "/zstd"] {
        assert_eq!(body(&first(&origin.url(path)).await.unwrap()), FEED.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn rule_44_connections_are_reused() {
    let origin = Origin::start();
    origin.serve("/a", Response::redirect(302, "/f").body("moved"));
    origin.serve("/f", Response::feed(FEED));
    origin.serve("/e", Response::status(404).body("not here"));
    let fetcher = Fetcher::new(&config()).unwrap();
    for path in ["/a", "/e", "/f"] {
        let url = Url::parse(&origin.url(path)).unwrap();
        let request = Request { url: &url, validators: &Validators::default(), credential: None };
        let _ = fetcher.fetch(&request, now()).await;
    }
    let seen = origin.all_requests();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|request| request.connection == 0), "{seen:?}");
}

#[tokio::test]
async fn rule_44_http_2_is_spoken_where_it_is_offered() {
    let (server, authority) = tls::config(&["127.0.0.1"], &["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f", listener.local_addr().unwrap());
    let first_words = std::thread::spawn(move || {
        let mut connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut socket = listener.accept().unwrap().0;
        let mut words = [0; 24];
        rustls::Stream::new(&mut connection, &mut socket).read_exact(&mut words).unwrap();
        (connection.alpn_protocol().map(<[u8]>::to_vec), words)
    });
    let trusting = FetchConfig { ca_file: authority.path().into(), ..config() };
    // This server says nothing more.
    fetch_with(&trusting, &url, &Validators::default()).await.unwrap_err();
    let (protocol, words) = first_words.join().unwrap();
    assert_eq!(protocol.as_deref(), Some(&b"h2"[..]));
    assert_eq!(&words, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[tokio::test]
async fn rule_48_the_body_is_capped_after_decompression() {
    let origin = Origin::start();
    let bomb = vec![b' '; 8 * 1024 * 1024];
    let brotli = {
        let mut out = Vec::new();
        brotli::BrotliCompress(&mut &bomb[..], &mut out, &Default::default()).unwrap();
        out
    };
    origin.serve("/gzip", Response::feed(bomb.clone()).gzip());
    origin.serve("/br", Response::feed(brotli).header("content-encoding", "br"));
    origin.serve("/zstd", Response::feed(zstd::encode_all(&bomb[..], 0).unwrap()).header("content-encoding", "zstd"));
    origin.serve("/plain", Response::feed(bomb));
    origin.serve("/endless", Response::feed("<rss>").endless());
    let config = FetchConfig { max_body: ByteSize::kib(64), ..config() };
    for path in ["/gzip", "/br", "/zstd", "/plain", "/endless"] {
        assert_eq!(class(&config, &origin.url(path)).await, ErrorClass::TooLarge, "{path}");
    }
}

#[tokio::test]
async fn rule_49_slow_answers_end_at_the_time_outs() {
    let origin = Origin::start();
    origin.serve("/silent", Response::feed(FEED).delay(Duration::from_secs(20)));
    origin.serve("/drip", Response::feed("x".repeat(2000)).drip(Duration::from_millis(20)));
    let (short, long) = (Duration::from_millis(150), Duration::from_secs(25));
    let silent = FetchConfig { read_timeout: short, timeout: long, ..config() };
    assert_eq!(class(&silent, &origin.url("/silent")).await, ErrorClass::Timeout);
    // Slow-loris: every read is in time, the whole is not.
    let drip = FetchConfig { read_timeout: long, timeout: short, ..config() };
    assert_eq!(class(&drip, &origin.url("/drip")).await, ErrorClass::Timeout);
}

#[tokio::test]
async fn rule_49_a_handshake_that_is_never_answered_ends_at_its_time_out() {
    // The system completes the connection; nobody speaks TLS on it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f", listener.local_addr().unwrap());
    let (short, long) = (Duration::from_millis(150), Duration::from_secs(25));
    let config = FetchConfig { connect_timeout: short, read_timeout: long, timeout: long, ..config() };
    assert_eq!(class(&config, &url).await, ErrorClass::Timeout);
}

#[tokio::test]
async fn rule_50_other_schemes_are_refused() {
    for url in ["ftp://127.0.0.1/f", "file:///etc/passwd"] {
        assert_eq!(class(&config(), url).await, ErrorClass::BlockedAddress);
    }
}

#[tokio::test]
async fn rule_53_no_error_shows_credentials() {
    let origin = Origin::start();
    let away = "http://me:s3cret@127.0.0.1:1/f?key=s3cret".to_owned();
    origin.serve("/loop", Response::redirect(302, "/loop"));
    origin.serve("/404", Response::status(404));
    let with = |path: &str| origin.url(path).replace("http://", "http://me:s3cret@");
    let lost = "http://me:s3cret@name.invalid/f?key=s3cret".to_owned();
    for url in [away, with("/loop"), with("/404"), lost, "ftp://me:s3cret@a.example/".into()] {
        let error = first(&url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn bad_origins_are_classed_errors() {
    let origin = Origin::start();
    origin.serve("/length", Response::feed(FEED).claimed_length(5000));
    origin.serve("/garbage", Response::raw("SSH-2.0-OpenSSH_9.6\r\n"));
    origin.serve("/gzip", Response::feed(FEED).header("content-encoding", "gzip"));
    origin.serve("/away", Response::redirect(302, "http://"));
    for (path, expected) in [
        ("/length", ErrorClass::Protocol),
        ("/garbage", ErrorClass::Protocol),
        ("/gzip", ErrorClass::Decode),
        ("/away", ErrorClass::Redirect),
    ] {
        assert_eq!(class(&config(), &origin.url(path)).await, expected, "{path}");
    }
    assert_eq!(class(&config(), "http://127.0.0.1:1/f").await, ErrorClass::Connect);
    assert_eq!(class(&config(), "http://name.invalid/f").await, ErrorClass::Dns);
}

#[tokio::test]
async fn headers_injected_into_an_etag_go_no_further() {
    let origin = Origin::start();
    origin.serve("/f", Response::raw("HTTP/1.1 200 OK\r\nETag: \"a\x01b\"\r\nContent-Length: 6\r\n\r\n<rss/>"));
    let answer = first(&origin.url("/f")).await.unwrap();
    assert_eq!((answer.validators.etag.as_deref(), body(&answer)), (None, &b"<rss/>"[..]));
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_the_whole_address() {
    let proxy = Origin::start();
    proxy.serve("http://news.example/f", Response::feed(FEED).etag("\"1\""));
    let through = FetchConfig { proxy: proxy.url(""), ..config() };
    let answer = fetch_with(&through, "http://news.example/f", &Validators::default()).await.unwrap();
    assert_eq!((body(&answer), proxy.all_requests().len()), (FEED.as_bytes(), 1));
    // A proxy that is not there is an error of the connection, and nothing goes around it.
    let nowhere = FetchConfig { proxy: "http://127.0.0.1:1".into(), ..config() };
    assert_eq!(class(&nowhere, "http://news.example/f").await, ErrorClass::Connect);
    assert!(Fetcher::new(&FetchConfig { proxy: "not a proxy".into(), ..config() }).is_err());
}

/// SOCKS version 5 as far as a client without credentials needs it: greets, connects to `to`, passes bytes on. Returns the
/// address that it was asked for.
fn socks5(listener: TcpListener, to: String) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).unwrap();
        client.read_exact(&mut vec![0; greeting[1].into()]).unwrap();
        client.write_all(&[5, 0]).unwrap();
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
        let length = if head[3] == 3 {
            let mut length = [0];
            client.read_exact(&mut length).unwrap();
            length[0]
        } else {
            4
        };
        let mut address = vec![0; usize::from(length) + 2];
        client.read_exact(&mut address).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut server = std::net::TcpStream::connect(to).unwrap();
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        std::thread::spawn(move || std::io::copy(&mut client, &mut server));
        address.truncate(address.len() - 2);
        address
    })
}

#[tokio::test]
async fn a_socks_proxy_is_given_the_name_or_the_address() {
    for (scheme, host, asked) in
        [("socks5h", "news.example", b"news.example".to_vec()), ("socks5", "127.0.0.1", vec![127, 0, 0, 1])]
    {
        let origin = Origin::start();
        origin.serve("/f", Response::feed(FEED));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("{scheme}://{}", listener.local_addr().unwrap());
        let server = socks5(listener, origin.url("").replace("http://", ""));
        let through = FetchConfig { proxy, ..config() };
        let answer = fetch_with(&through, &format!("http://{host}/f"), &Validators::default()).await.unwrap();
        assert_eq!((body(&answer), server.join().unwrap()), (FEED.as_bytes(), asked), "{scheme}");
    }
}
