//! A command: run for each alert, which is on its standard input; its exit status decides.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin};

use super::webhook::delivery_id;
use super::{Delivery, Sink, SinkError};
use crate::store::Waiting;

/// How much of what a failing command says is kept for the log, bytes.
const SAID: u64 = 1_000;

/// How long the last words of a command that has ended are waited for: what it left running may keep the line open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A program that is given alerts.
#[derive(Debug)]
pub struct CommandSink {
    /// Name of the sink.
    pub name: String,
    /// The program and its arguments; it is not run by a shell.
    pub command: Vec<String>,
    /// How many run at once. With more than one, order is not kept.
    pub concurrency: usize,
    /// Longest time for one; then it is killed, with all that it started in its process group.
    pub timeout: Duration,
}

impl CommandSink {
    async fn run(&self, alert: &Waiting) -> Result<(), SinkError> {
        let failed = |reason| SinkError::Command { name: self.name.clone(), reason };
        let mut child = Group(self.start(alert).map_err(failed)?);
        let (stdin, stderr) = (child.0.stdin.take(), child.0.stderr.take());
        let work = async {
            let talk = async { tokio::join!(feed(stdin, &alert.line), listen(stderr)).1 };
            tokio::pin!(talk);
            let (status, said) = tokio::select! {
                said = &mut talk => return (said, child.0.wait().await),
                status = child.0.wait() => (status, tokio::time::timeout(LAST_WORDS, &mut talk).await),
            };
            (said.unwrap_or_default(), status)
        };
        let Ok((said, status)) = tokio::time::timeout(self.timeout, work).await else {
            let after = humantime_serde::re::humantime::format_duration(self.timeout);
            return Err(failed(format!("not done after {after}; killed")));
        };
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("{status}{}", said.map(|said| format!(": {said}")).unwrap_or_default()))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn start(&self, alert: &Waiting) -> Result<Child, String> {
        let Some((program, arguments)) = self.command.split_first() else { return Err("it is empty".into()) };
        let mut command = tokio::process::Command::new(program);
        // Our secrets are not its own.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_secret(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("DEMARCHE_ALERT_ID", &alert.alert_id)
            .env("DEMARCHE_DELIVERY", delivery_id(&self.name, &alert.alert_id))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("start {program}: {error}"))
    }
}

impl Sink for CommandSink {
    fn most(&self) -> usize {
        self.concurrency
    }

    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery> {
        let this = &*self;
        async move {
            let ended = join_all(alerts.iter().map(|alert| this.run(alert))).await;
            let mut delivery = Delivery::default();
            for (alert, ended) in alerts.iter().zip(ended) {
                match ended {
                    Ok(()) => delivery.taken.push(alert.seq),
                    Err(error) if delivery.refused.is_none() => delivery.refused = Some((alert.seq, error)),
                    Err(error) => tracing::warn!(%error, alert = alert.alert_id, "tried again later"),
                }
            }
            delivery
        }
        .boxed()
    }
}

fn is_secret(name: &str) -> bool {
    name.starts_with("DEMARCHE_CREDENTIAL_") || name == "CREDENTIALS_DIRECTORY"
}

/// A command and what it has started: dropped, all of it is killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // It has no id any more when it has ended.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Gives it the alert. One that does not read to the end has its reasons: its exit status says how it went.
async fn feed(stdin: Option<ChildStdin>, line: &str) {
    let Some(mut stdin) = stdin else { return };
    if stdin.write_all(line.as_bytes()).await.is_ok() {
        let _ = stdin.write_all(b"\n").await;
    }
}

/// What it says, in one line; the rest is read and forgotten, so that it need not wait.
async fn listen(stderr: Option<ChildStderr>) -> Option<String> {
    let mut stderr = stderr?;
    let mut said = Vec::new();
    let read = (&mut stderr).take(SAID).read_to_end(&mut said).await;
    let rest = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    if read.and(rest).is_err() {
        return None;
    }
    let text = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(script: &str, concurrency: usize) -> CommandSink {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        CommandSink { name: "pager".into(), command, concurrency, timeout: Duration::from_secs(20) }
    }

    fn alert(seq: i64) -> Waiting {
        Waiting { seq, alert_id: format!("id-{seq}"), line: format!("{{\"n\":{seq}}}"), tags: "[]".into() }
    }

    async fn deliver(mut sink: CommandSink, alerts: &[Waiting]) -> Delivery {
        sink.deliver(&alerts.iter().collect::<Vec<_>>()).await
    }

    #[tokio::test]
    async fn the_alert_is_on_its_standard_input() {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("cat > {0}/in; echo $DEMARCHE_ALERT_ID > {0}/id", dir.path().display());
        let delivery = deliver(sink(&script, 1), &[alert(1)]).await;
        assert_eq!(delivery.taken, [1]);
        assert_eq!(std::fs::read_to_string(dir.path().join("in")).unwrap(), "{\"n\":1}\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("id")).unwrap(), "id-1\n");
    }

    #[tokio::test]
    async fn the_exit_status_decides_and_its_words_are_kept() {
        let (seq, error) = deliver(sink("echo no line >&2; exit 3", 1), &[alert(7)]).await.refused.unwrap();
        let text = error.to_string();
        assert!(seq == 7 && text.contains("pager") && text.contains("exit status: 3: no line"), "{text}");
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_killed_with_what_it_started() {
        let slow = CommandSink { timeout: Duration::from_millis(200), ..sink("sleep 60 & wait", 1) };
        let (_, error) = deliver(slow, &[alert(1)]).await.refused.unwrap();
        assert!(error.to_string().contains("not done after 200ms"), "{error}");
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_not_waited_for() {
        let sink = CommandSink { timeout: Duration::from_secs(60), ..sink("sleep 30 & exit 0", 1) };
        let started = std::time::Instant::now();
        assert_eq!(deliver(sink, &[alert(1)]).await.taken, [1]);
        assert!(started.elapsed() < Duration::from_secs(29));
    }

    #[tokio::test]
    async fn one_that_does_not_read_is_not_waited_for() {
        let long = Waiting { line: "x".repeat(1 << 20), ..alert(1) };
        assert_eq!(deliver(sink("exit 0", 1), &[long]).await.taken, [1]);
    }

    #[tokio::test]
    async fn several_at_once_and_one_of_them_fails() {
        let script = "read line; case $line in *2*) exit 1;; esac";
        let delivery = deliver(sink(script, 3), &[alert(1), alert(2), alert(3)]).await;
        assert_eq!((delivery.taken, delivery.refused.unwrap().0), (vec![1, 3], 2));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let command = vec!["/nowhere/pager".to_owned()];
        let (_, error) = deliver(CommandSink { command, ..sink("", 1) }, &[alert(1)]).await.refused.unwrap();
        assert!(error.to_string().contains("start /nowhere/pager"), "{error}");
    }
}
