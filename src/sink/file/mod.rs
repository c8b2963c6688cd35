//! The alert file: one JSON object a line, whole lines only.
//!
//! Its name is stable; what is rotated away stands beside it under a name with its time. Others may handle it too: an
//! editor, logrotate, `rm`. So before and after each block it is checked that the name still leads to the open file.

mod closed;
mod config;
mod known;
mod rotate;
mod tail;
mod walk;

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, FutureExt, ready};

use super::step::{self, Step};
use super::{AlertId, Delivery, Sink, SinkError};
use crate::pipeline::capacity;
use crate::store::Waiting;

pub use config::{Compression, FilePolicy, Fsync, Keep, Rotation};
pub use known::alerted;
pub use walk::{Order, Part, Walked, walk};

/// How often a block is written anew because the file was removed at that very moment, before it counts as a failure.
const REMOVED_AT_MOST: usize = 3;

/// The alert file, or standard output.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    target: Target,
    policy: FilePolicy,
    /// Compresses and removes closed files.
    tidying: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// Not opened yet, or lost when it could not be opened anew.
    Unopened,
    File {
        file: File,
        /// Bytes up to the end of the last whole line: what a failed write is cut back to.
        whole: u64,
        /// Bytes that are safe: what a failed sync is cut back to.
        synced: u64,
    },
}

impl FileSink {
    /// Opens `path` for appending (`-` is standard output) and cuts off a torn last line: its alert is still in the
    /// outbox and will be written anew.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn open(path: &Path, policy: FilePolicy) -> Result<Self, SinkError> {
        let failed = |source| SinkError::Open { path: path.to_owned(), source };
        let target = if path == Path::new("-") { Target::Stdout } else { open_file(path).map_err(failed)? };
        Ok(Self { path: path.to_owned(), target, policy, tidying: None })
    }

    /// The same, opened when it is needed: a sink whose disk is not there must not keep the program from its work.
    pub fn later(path: &Path, policy: FilePolicy) -> Self {
        let target = if path == Path::new("-") { Target::Stdout } else { Target::Unopened };
        Self { path: path.to_owned(), target, policy, tidying: None }
    }

    /// Its path; `-` is standard output.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of `waiting` stand in the file, or in those it was rotated to, behind all of `settled`.
    ///
    /// # Errors
    /// [`SinkError::Open`] when a file cannot be read.
    pub fn already_written(
        &mut self,
        waiting: &HashSet<String>,
        settled: &HashSet<String>,
    ) -> Result<HashSet<String>, SinkError> {
        if waiting.is_empty() {
            return Ok(HashSet::new());
        }
        let path = self.path.clone();
        let failed = |source| SinkError::Open { path: path.clone(), source };
        match self.target {
            Target::Stdout => return Ok(HashSet::new()),
            Target::Unopened => self.target = open_file(&path).map_err(failed)?,
            Target::File { .. } => {}
        }
        let found = tail::written(&path, waiting, settled).map_err(failed)?;
        if !found.is_empty() {
            // They are about to be marked; the run that wrote them may not have synced them.
            self.sync_old();
        }
        Ok(found)
    }

    /// Appends `lines` and their newlines, all or none of them, and syncs them if each block is to be synced.
    ///
    /// # Errors
    /// [`SinkError::Write`]; the file is then as it was before.
    pub fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>, now: DateTime<Utc>) -> Result<(), SinkError> {
        let mut block = String::new();
        for line in lines {
            block.push_str(line);
            block.push('\n');
        }
        self.write(block.as_bytes(), now).map_err(|source| SinkError::Write { path: self.path.clone(), source })
    }

    fn write(&mut self, block: &[u8], now: DateTime<Utc>) -> io::Result<()> {
        if let Target::Stdout = self.target {
            let mut out = io::stdout().lock();
            return out.write_all(block).and_then(|()| out.flush());
        }
        for _ in 0..REMOVED_AT_MOST {
            self.check_current()?;
            self.rotate_if_due(block.len() as u64, now);
            if self.append_block(block)? {
                return Ok(());
            }
            tracing::warn!(path = %self.path.display(), "the alert file was removed while it was written; writing anew");
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "it is removed again and again"))
    }

    /// Writes and syncs; false when the file has been removed meanwhile, so that nobody will ever read the block.
    fn append_block(&mut self, block: &[u8]) -> io::Result<bool> {
        let Target::File { file, whole, .. } = &mut self.target else { return Ok(true) };
        let written = write_block(file, block).and_then(|()| match self.policy.fsync {
            Fsync::Always => sync(file),
            Fsync::Interval | Fsync::Never => Ok(()),
        });
        if let Err(error) = written {
            // What cannot be cut now is cut at the next start.
            let _ = file.set_len(*whole);
            return Err(error);
        }
        step::pass(Step::Synced);
        *whole += block.len() as u64;
        let metadata = file.metadata()?;
        Ok(metadata.nlink() > 0 || !metadata.is_file())
    }

    /// Makes sure that the name leads to the open file and that it ends with a whole line.
    fn check_current(&mut self) -> io::Result<()> {
        if let Target::Unopened = self.target {
            self.target = open_file(&self.path)?;
        }
        let Target::File { file, whole, .. } = &mut self.target else { return Ok(()) };
        let open = file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) if is_same(&named, &open) => {
                if open.is_file() && open.len() != *whole {
                    *whole = changed_by_others(file, &open, *whole, &self.path)?;
                }
                return Ok(());
            }
            Ok(_) => {
                tracing::warn!(path = %self.path.display(), "the alert file was replaced; going on in the new one")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), "the alert file was moved or removed; starting a new one");
            }
            Err(error) => return Err(error),
        }
        self.sync_old();
        self.target = open_file(&self.path)?;
        Ok(())
    }

    /// After a failed sync nobody knows what of the file will outlast a power cut, and asking again does not tell: what was
    /// not safe before is cut off, to be written anew.
    fn sync_file(&mut self) -> io::Result<()> {
        let Target::File { file, whole, synced } = &mut self.target else { return Ok(()) };
        match sync(file) {
            Ok(()) => *synced = *whole,
            Err(error) => {
                file.set_len(*synced)?;
                *whole = *synced;
                return Err(error);
            }
        }
        Ok(())
    }

    /// What is in a file that was moved away is as safe as it was to be; one that is gone needs nothing.
    fn sync_old(&mut self) {
        if let Target::File { file, .. } = &self.target
            && self.policy.fsync != Fsync::Never
            && let Err(error) = sync(file)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot sync the alert file that was moved away");
        }
    }

    /// A rotation that fails must not keep alerts from being written: the current file goes on growing.
    fn rotate_if_due(&mut self, more: u64, now: DateTime<Utc>) {
        let Target::File { file, .. } = &self.target else { return };
        let due = file.metadata().is_ok_and(|now_in| {
            let last = now_in.modified().map_or(now, DateTime::<Utc>::from);
            now_in.is_file() && rotate::is_due(&self.policy.rotation, now_in.len(), last, more, now)
        });
        if !due {
            return;
        }
        self.sync_old();
        match rotate::rotate(&self.path, now).and_then(|()| open_file(&self.path)) {
            Ok(target) => self.target = target,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot rotate the alert file; it goes on growing");
                return;
            }
        }
        step::pass(Step::Rotated);
        self.tidy(now);
    }

    /// Compresses and removes closed files, on a thread of its own: a large file takes seconds.
    fn tidy(&mut self, now: DateTime<Utc>) {
        if !self.policy.tidies() || self.tidying.as_ref().is_some_and(|thread| !thread.is_finished()) {
            // What is passed over now is done after the next rotation or at the next start.
            return;
        }
        self.close();
        let (path, policy) = (self.path.clone(), self.policy);
        let thread = std::thread::Builder::new().name("tidy".into()).spawn(move || closed::tidy(&path, &policy, now));
        match thread {
            Ok(thread) => self.tidying = Some(thread),
            Err(error) => tracing::warn!(%error, "cannot start a thread; closed alert files stay as they are"),
        }
    }
}

impl Sink for FileSink {
    fn already_has<'a>(
        &'a mut self,
        waiting: &'a HashSet<String>,
        settled: &'a HashSet<String>,
    ) -> BoxFuture<'a, Result<HashSet<String>, SinkError>> {
        let found = tokio::task::block_in_place(|| self.already_written(waiting, settled));
        if !matches!(self.target, Target::Stdout) {
            // Only now: what is searched must not be moved meanwhile.
            self.tidy(Utc::now());
        }
        ready(found).boxed()
    }

    fn holds(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<AlertId>, SinkError>> {
        let is_file = !matches!(self.target, Target::Stdout) && self.path.exists();
        let ids = if is_file { tokio::task::block_in_place(|| tail::ids(&self.path, most)) } else { Ok(Vec::new()) };
        ready(ids.map_err(|source| SinkError::Open { path: self.path.clone(), source })).boxed()
    }

    fn most(&self) -> usize {
        capacity::DELIVERY_BATCH
    }

    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery> {
        let lines = alerts.iter().map(|alert| alert.line.as_str());
        let written = tokio::task::block_in_place(|| self.append(lines, Utc::now()));
        let delivery = match (written, alerts.first()) {
            (Err(error), Some(first)) => Delivery { taken: Vec::new(), refused: Some((first.seq, error)) },
            _ => Delivery { taken: alerts.iter().map(|alert| alert.seq).collect(), refused: None },
        };
        ready(delivery).boxed()
    }

    fn sync_every(&self) -> Option<Duration> {
        match (&self.target, self.policy.fsync) {
            (Target::File { .. } | Target::Unopened, Fsync::Interval) => Some(self.policy.fsync_interval),
            _ => None,
        }
    }

    fn sync(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        let done = tokio::task::block_in_place(|| self.sync_file());
        ready(done.map_err(|source| SinkError::Write { path: self.path.clone(), source })).boxed()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        if let Target::Stdout = self.target {
            return Ok(());
        }
        self.sync_old();
        self.target = open_file(&self.path).map_err(|source| SinkError::Open { path: self.path.clone(), source })?;
        Ok(())
    }

    fn close(&mut self) {
        if let Some(thread) = self.tidying.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that compresses closed alert files panicked; please report this with the log");
        }
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Makes safe what was written. A pipe or a device keeps nothing, and says so (EINVAL).
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// In two halves where a test wants to see a torn line.
fn write_block(file: &mut File, block: &[u8]) -> io::Result<()> {
    if step::is_last(Step::Torn) {
        file.write_all(&block[..block.len() / 2])?;
        std::process::abort();
    }
    file.write_all(block)?;
    step::pass(Step::Written);
    Ok(())
}

/// Somebody else has written to the file, or cut it: it must end with a whole line all the same.
fn changed_by_others(file: &mut File, open: &Metadata, whole: u64, path: &Path) -> io::Result<u64> {
    if open.len() < whole {
        tracing::warn!(path = %path.display(), was = whole, is = open.len(), "the alert file was cut by somebody else");
    }
    if open.len() > 0 && last_byte(file, open.len())? != b'\n' {
        file.write_all(b"\n")?;
        return Ok(open.len() + 1);
    }
    Ok(open.len())
}

fn last_byte(file: &mut File, length: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn open_file(path: &Path) -> io::Result<Target> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return open_pipe(path);
    }
    let is_new = !path.exists();
    let mut file = File::options().create(true).append(true).read(true).open(path)?;
    if is_new {
        rotate::sync_directory(path);
    }
    let metadata = file.metadata()?;
    let whole = if metadata.is_file() { tail::mend(&mut file, metadata.len(), path)? } else { 0 };
    Ok(Target::File { file, whole, synced: whole })
}

/// A pipe that has a reader: what is written to one without would be gone with us.
fn open_pipe(path: &Path) -> io::Result<Target> {
    let probe = File::options().write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
    match probe {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it is a pipe that nobody reads"));
        }
        probe => drop(probe?),
    }
    let file = File::options().write(true).open(path)?;
    Ok(Target::File { file, whole: 0, synced: 0 })
}

#[cfg(test)]
mod tests;
