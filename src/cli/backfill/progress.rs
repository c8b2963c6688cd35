//! How far a backfill has come: bars on a terminal, a line now and then in a log.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::backfill::Source;
use crate::pipeline::Tally;
use crate::store::{Resume, SourceCounts};

/// How often bars are drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// How often there is a line in the log. More often drowns what is wrong with the sources.
const LINE: Duration = Duration::from_secs(10);

/// Bars that fit on a terminal beside the total; the sources behind them show in the total alone.
const MOST_BARS: usize = 12;

/// What is shown of a source.
struct Shown {
    name: String,
    /// Bytes in all; 0 while that is not known.
    size: AtomicU64,
    read: AtomicU64,
    pages: AtomicU64,
    items: AtomicU64,
    done: AtomicBool,
    is_web: bool,
}

impl Shown {
    /// What its bar does not show.
    fn message(&self) -> String {
        let items = format!("{} items", self.items.load(Ordering::Relaxed));
        match self.size.load(Ordering::Relaxed) {
            0 if self.is_web => format!("{} pages, {items}", self.pages.load(Ordering::Relaxed)),
            0 => format!("{}, {items}", ByteSize(self.read.load(Ordering::Relaxed))),
            _ => items,
        }
    }
}

/// The counters behind the display.
pub(super) struct Live {
    sources: Vec<Shown>,
    tally: Arc<Tally>,
    stop: AtomicBool,
    started: Instant,
    /// Bytes that an earlier run had read.
    before: u64,
}

impl Live {
    /// For `sources`, of which an earlier run may have read a part.
    pub fn new(sources: &[Source], resume: &Resume, tally: Arc<Tally>) -> Arc<Self> {
        let shown = |(index, source): (usize, &Source)| {
            let state = resume.sources.get(&index);
            let read = state.map_or(0, |state| state.counts.bytes);
            Shown {
                name: source.name(),
                size: AtomicU64::new(0),
                read: AtomicU64::new(read),
                pages: AtomicU64::new(0),
                items: AtomicU64::new(0),
                done: AtomicBool::new(state.is_some_and(|state| state.done)),
                is_web: source.feeds().is_some(),
            }
        };
        let sources: Vec<Shown> = sources.iter().enumerate().map(shown).collect();
        let before = sources.iter().map(|source| source.read.load(Ordering::Relaxed)).sum();
        let (stop, started) = (AtomicBool::new(false), Instant::now());
        Arc::new(Self { sources, tally, stop, started, before })
    }

    /// Counts what was taken in of the source at `index`.
    pub fn taken(&self, index: usize, counts: &SourceCounts, done: bool) {
        let Some(source) = self.sources.get(index) else { return };
        source.read.fetch_add(counts.bytes, Ordering::Relaxed);
        source.pages.fetch_add(counts.documents + counts.failed, Ordering::Relaxed);
        source.done.fetch_or(done, Ordering::Relaxed);
        source.items.fetch_add(counts.read, Ordering::Relaxed);
    }

    /// Shows it until the guard is dropped. `sources` are measured beside.
    pub fn show(self: &Arc<Self>, sources: &[Source], bars: MultiProgress) -> std::io::Result<Showing> {
        let (measuring, drawing, sources) = (self.clone(), self.clone(), sources.to_vec());
        let measure = std::thread::Builder::new().name("measure".into()).spawn(move || measuring.measure(&sources))?;
        let draw = std::thread::Builder::new().name("progress".into()).spawn(move || drawing.run(bars))?;
        Ok(Showing { live: self.clone(), threads: vec![measure, draw] })
    }

    fn measure(&self, sources: &[Source]) {
        for (source, shown) in sources.iter().zip(&self.sources) {
            let size: Option<u64> = source.on_disk().map(|path| self.size(&path)).sum();
            size.into_iter().for_each(|size| shown.size.store(size, Ordering::Relaxed));
        }
    }

    /// Bytes of the files at and below `path`; none when the run is over before.
    fn size(&self, path: &Path) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let kind = std::fs::symlink_metadata(path).ok()?;
        if !kind.is_dir() {
            return Some(std::fs::metadata(path).map_or(0, |file| file.len()));
        }
        let entries = std::fs::read_dir(path).ok()?;
        entries.flatten().map(|entry| self.size(&entry.path())).sum()
    }

    fn run(&self, all: MultiProgress) {
        let bars = std::io::stderr().is_terminal().then(|| Bars::new(all, &self.sources));
        let mut last_line = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            match &bars {
                Some(bars) => bars.draw(self),
                None if last_line.elapsed() >= LINE => {
                    last_line = Instant::now();
                    tracing::info!("{}", self.line());
                }
                None => {}
            }
        }
        bars.iter().for_each(Bars::clear);
    }

    fn read(&self) -> u64 {
        self.sources.iter().map(|source| source.read.load(Ordering::Relaxed)).sum()
    }

    fn items(&self) -> u64 {
        self.sources.iter().map(|source| source.items.load(Ordering::Relaxed)).sum()
    }

    /// Bytes in all, once every source that is not read is measured.
    fn size_of_all(&self) -> Option<u64> {
        let size = |source: &Shown| match source.size.load(Ordering::Relaxed) {
            0 if source.done.load(Ordering::Relaxed) => Some(source.read.load(Ordering::Relaxed)),
            0 => None,
            size => Some(size),
        };
        self.sources.iter().map(size).sum()
    }

    fn pace(&self) -> (f64, Option<Duration>) {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let items = self.items() as f64 / seconds;
        let now = self.read().saturating_sub(self.before) as f64 / seconds;
        let left = self.size_of_all().map(|size| size.saturating_sub(self.read()) as f64);
        (items, left.filter(|_| now > 0.0).map(|left| Duration::from_secs((left / now) as u64)))
    }

    fn line(&self) -> String {
        let (items, left) = self.pace();
        let totals = self.tally.totals();
        let of = self.size_of_all().map_or_else(String::new, |size| format!(" of {}", ByteSize(size)));
        let left = left.map_or_else(String::new, |left| {
            format!(", about {} left", humantime_serde::re::humantime::format_duration(left))
        });
        format!(
            "{} items read ({}{of}), {} alerts, {items:.0} items/s{left}",
            self.items(),
            ByteSize(self.read()),
            totals.alert,
        )
    }
}

/// A display that runs until this is dropped.
pub(super) struct Showing {
    live: Arc<Live>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.live.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A display that failed has cost nothing but itself.
            let _ = thread.join();
        }
    }
}

struct Bars {
    all: MultiProgress,
    sources: Vec<ProgressBar>,
    total: ProgressBar,
}

impl Bars {
    fn new(all: MultiProgress, sources: &[Shown]) -> Self {
        let bar = |source: &Shown| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style("{prefix:30!} {spinner} {msg}")));
            bar.set_prefix(source.name.clone());
            bar
        };
        let sources = sources.iter().take(MOST_BARS).map(bar).collect();
        let total = all.add(ProgressBar::new_spinner().with_style(style("{elapsed} {msg}")));
        Self { all, sources, total }
    }

    fn draw(&self, live: &Live) {
        for (bar, source) in self.sources.iter().zip(&live.sources) {
            let (read, size) = (source.read.load(Ordering::Relaxed), source.size.load(Ordering::Relaxed));
            if size > 0 {
                if bar.length() != Some(size) {
                    bar.set_length(size);
                    bar.set_style(style("{prefix:30!} [{bar:30}] {bytes} of {total_bytes} {msg}"));
                }
                bar.set_position(read.min(size));
            }
            let done = source.done.load(Ordering::Relaxed);
            bar.set_message(if done { format!("{}, done", source.message()) } else { source.message() });
            if done && !bar.is_finished() {
                bar.finish();
            }
            bar.tick();
        }
        self.total.set_message(live.line());
        self.total.tick();
    }

    fn clear(&self) {
        // What cannot be wiped stays on the screen.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_how_much_is_left() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [0; 3_000]).unwrap();
        std::fs::write(dir.path().join("b"), [0; 1_000]).unwrap();
        let sources = [Source::Path(dir.path().to_owned())];
        let pattern = [Source::parse(&format!("{}/[ab]", dir.path().display())).unwrap()];
        let matching = Live::new(&pattern, &Resume::default(), Arc::default());
        matching.measure(&pattern);
        assert_eq!(matching.size_of_all(), Some(4_000));
        let live = Live::new(&sources, &Resume::default(), Arc::default());
        assert_eq!(live.size_of_all(), None);
        live.measure(&sources);
        live.taken(0, &SourceCounts { bytes: 1_000, read: 50, ..SourceCounts::default() }, false);
        let line = live.line();
        assert!(line.starts_with("50 items read (1000 B of 3.9 KiB), 0 alerts, "), "{line}");
        assert!(line.contains(" items/s, about "), "{line}");
        assert_eq!(live.sources[0].message(), "50 items");
        live.sources[0].size.store(0, Ordering::Relaxed);
        assert_eq!(live.sources[0].message(), "1000 B, 50 items");
    }
}
