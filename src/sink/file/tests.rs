//! The alert file in the hands of a crash, an editor and logrotate.

use super::*;

fn line(id: &str) -> String {
    format!("{{\"alert_id\":\"{id}\"}}")
}

fn policy() -> FilePolicy {
    FilePolicy::plain(Fsync::Always)
}

fn sized(size: u64) -> FilePolicy {
    FilePolicy { rotation: Rotation { size: Some(size), daily: false }, ..policy() }
}

fn append(sink: &mut FileSink, ids: &[&str]) {
    let lines: Vec<String> = ids.iter().map(|id| line(id)).collect();
    sink.append(lines.iter().map(String::as_str), Utc::now()).unwrap();
}

fn ids(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

struct Desk {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        Self { dir, path }
    }

    fn open(&self, policy: FilePolicy) -> FileSink {
        FileSink::open(&self.path, policy).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    /// Every line of every file, sorted.
    fn all(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let file = File::open(&path).unwrap();
            let text = match path.extension().unwrap().to_str().unwrap() {
                "zst" => io::read_to_string(zstd::Decoder::new(file).unwrap()),
                "gz" => io::read_to_string(flate2::read::GzDecoder::new(file)),
                _ => io::read_to_string(file),
            };
            lines.extend(text.unwrap().lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }

    fn found(&self, waiting: &[&str], settled: &[&str]) -> HashSet<String> {
        self.open(policy()).already_written(&ids(waiting), &ids(settled)).unwrap()
    }
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let desk = Desk::new();
    for torn in ["", "{\"alert_id\":\"b", &format!("{{\"{}", "x".repeat(200_000)), "\0\0\0"] {
        std::fs::write(&desk.path, line("a") + "\n" + torn).unwrap();
        append(&mut desk.open(policy()), &["c"]);
        assert_eq!(desk.text(), line("a") + "\n" + &line("c") + "\n");
    }
}

#[test]
fn a_last_line_that_lacks_its_newline_is_kept() {
    let desk = Desk::new();
    for last in [line("a").as_str(), "# checked until here"] {
        std::fs::write(&desk.path, last).unwrap();
        append(&mut desk.open(policy()), &["b"]);
        assert_eq!(desk.text(), format!("{last}\n{}\n", line("b")));
    }
}

#[test]
fn a_file_that_is_one_torn_line_becomes_empty() {
    let desk = Desk::new();
    std::fs::write(&desk.path, "{\"alert").unwrap();
    desk.open(policy());
    assert_eq!(desk.text(), "");
}

#[test]
fn finds_what_was_written_among_lines_of_others() {
    let desk = Desk::new();
    std::fs::write(&desk.path, format!("{}\n# edited by hand\n{{\"other\":1}}\n\n", line("a"))).unwrap();
    assert_eq!(desk.found(&["a", "b"], &[]), ids(&["a"]));
}

#[test]
fn the_search_goes_back_to_the_last_settled_line_and_over_long_files() {
    let desk = Desk::new();
    let long: String = (0..9_000).map(|n| line(&format!("n{n}")) + "\n").collect();
    std::fs::write(&desk.path, line("a") + "\n" + &line("s") + "\n" + &long + &line("b") + "\n").unwrap();
    assert_eq!(desk.found(&["a", "b"], &["s"]), ids(&["b"]), "what stands before the settled line is of no interest");
    assert_eq!(desk.found(&["a", "b", "n0"], &[]), ids(&["a", "b", "n0"]));
}

#[test]
fn the_tail_may_lie_in_a_file_that_was_just_rotated() {
    for (name, how) in [
        ("alerts-20260301T120000Z.jsonl", Compression::None),
        ("alerts-20260301T120000Z.jsonl", Compression::Zstd),
        ("alerts-20260301T120000Z.jsonl", Compression::Gzip),
        ("alerts.jsonl.1", Compression::None),
        ("alerts.jsonl-20260301", Compression::Gzip),
    ] {
        let desk = Desk::new();
        let closed = desk.dir.path().join(name);
        std::fs::write(&closed, line("s") + "\n" + &line("a") + "\n").unwrap();
        closed::compress(&closed, how).unwrap();
        assert_eq!(desk.found(&["a", "b"], &["s"]), ids(&["a"]), "{name} {how:?}");
        std::fs::write(&desk.path, line("b") + "\n").unwrap();
        assert_eq!(desk.found(&["a", "b"], &["s"]), ids(&["a", "b"]), "{name} {how:?}");
    }
}

#[test]
fn a_broken_old_file_is_passed_over() {
    let desk = Desk::new();
    std::fs::write(desk.dir.path().join("alerts-20260301T120000Z.jsonl.zst"), "no zstd").unwrap();
    std::fs::write(&desk.path, line("a") + "\n").unwrap();
    assert_eq!(desk.found(&["a"], &["s"]), ids(&["a"]));
}

#[test]
fn rotated_by_size_every_file_holds_whole_lines_and_nothing_is_missing() {
    for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
        let desk = Desk::new();
        let mut sink = desk.open(FilePolicy { compression, ..sized(100) });
        let names: Vec<String> = (0..40).map(|n| format!("id-{n:03}")).collect();
        for pair in names.chunks(2) {
            append(&mut sink, &pair.iter().map(String::as_str).collect::<Vec<_>>());
            sink.close();
        }
        assert_eq!(desk.all(), names.iter().map(|name| line(name)).collect::<Vec<_>>());
        assert!(desk.text().len() <= 100 && std::fs::read_dir(desk.dir.path()).unwrap().count() > 5);
    }
}

#[test]
fn rotated_by_day_with_the_first_alert_of_the_next() {
    let desk = Desk::new();
    let mut sink = desk.open(FilePolicy { rotation: Rotation { size: None, daily: true }, ..policy() });
    append(&mut sink, &["a"]);
    sink.append([line("b").as_str()].into_iter(), Utc::now() + chrono::TimeDelta::days(1)).unwrap();
    assert_eq!(desk.text(), line("b") + "\n");
    assert_eq!(desk.all(), [line("a"), line("b")]);
}

#[test]
fn closed_files_are_kept_within_their_total() {
    let desk = Desk::new();
    let keep = Keep { age: None, total: Some(60) };
    let mut sink = desk.open(FilePolicy { keep, ..sized(20) });
    for id in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        append(&mut sink, &[id]);
        sink.close();
    }
    assert_eq!(desk.all(), ["e", "f", "g", "h"].map(line), "three closed ones of 17 bytes and the current one");
}

#[test]
fn moved_away_by_logrotate_a_new_file_is_begun_without_being_told() {
    let desk = Desk::new();
    let mut sink = desk.open(policy());
    append(&mut sink, &["a"]);
    std::fs::rename(&desk.path, desk.dir.path().join("alerts.jsonl.1")).unwrap();
    append(&mut sink, &["b"]);
    assert_eq!((desk.text(), desk.all()), (line("b") + "\n", vec![line("a"), line("b")]));
}

#[test]
fn reopened_it_follows_its_name() {
    let desk = Desk::new();
    let mut sink = desk.open(policy());
    append(&mut sink, &["a"]);
    std::fs::rename(&desk.path, desk.dir.path().join("alerts.jsonl.1")).unwrap();
    sink.reopen().unwrap();
    assert_eq!(desk.text(), "");
    append(&mut sink, &["b"]);
    assert_eq!(desk.text(), line("b") + "\n");
}

#[test]
fn replaced_by_an_editor_it_goes_on_in_the_new_file() {
    let desk = Desk::new();
    let mut sink = desk.open(policy());
    append(&mut sink, &["a"]);
    let edited = desk.dir.path().join("edited.tmp");
    std::fs::write(&edited, "# my note").unwrap();
    std::fs::rename(&edited, &desk.path).unwrap();
    append(&mut sink, &["b"]);
    assert_eq!(desk.text(), "# my note\n".to_owned() + &line("b") + "\n");
}

#[test]
fn edited_in_place_or_cut_every_line_of_ours_is_whole() {
    let desk = Desk::new();
    let mut sink = desk.open(policy());
    append(&mut sink, &["a"]);
    File::options().append(true).open(&desk.path).unwrap().write_all(b"my note").unwrap();
    append(&mut sink, &["b"]);
    assert_eq!(desk.text(), line("a") + "\nmy note\n" + &line("b") + "\n");
    File::options().write(true).open(&desk.path).unwrap().set_len(5).unwrap();
    append(&mut sink, &["c"]);
    assert_eq!(desk.text(), "{\"ale\n".to_owned() + &line("c") + "\n");
}

#[test]
fn a_directory_that_takes_no_new_files_does_not_stop_the_writing() {
    let desk = Desk::new();
    let mut sink = desk.open(sized(10));
    append(&mut sink, &["a"]);
    // Every name of the second is taken.
    let now = Utc::now();
    for count in 0..1_000 {
        std::fs::write(closed::Names::of(&desk.path).closed(now, count), "").unwrap();
    }
    sink.append([line("b").as_str()].into_iter(), now).unwrap();
    assert_eq!(desk.text(), line("a") + "\n" + &line("b") + "\n");
}

#[test]
fn a_directory_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = FileSink::open(dir.path(), policy()).unwrap_err().to_string();
    assert!(error.contains("open alert file") && error.contains("--out"), "{error}");
}

#[test]
fn a_full_disk_is_named_and_not_half_written() {
    let mut sink = FileSink::open(Path::new("/dev/full"), policy()).unwrap();
    let error = sink.append([line("a").as_str()].into_iter(), Utc::now()).unwrap_err().to_string();
    assert!(error.contains("write alert file /dev/full") && error.contains("free some space"), "{error}");
}

#[test]
fn devices_and_pipes_are_written_to_and_one_that_nobody_reads_is_named() {
    append(&mut FileSink::open(Path::new("/dev/null"), policy()).unwrap(), &["a"]);
    let desk = Desk::new();
    nix::unistd::mkfifo(&desk.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = FileSink::open(&desk.path, policy()).unwrap_err().to_string();
    assert!(error.contains("a pipe that nobody reads"), "{error}");
    let mut reader = File::options().read(true).write(true).open(&desk.path).unwrap();
    let mut sink = desk.open(policy());
    append(&mut sink, &["a"]);
    append(&mut sink, &["b"]);
    let expected = line("a") + "\n" + &line("b") + "\n";
    let mut text = vec![0; expected.len()];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}
