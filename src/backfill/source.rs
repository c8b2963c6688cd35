//! What the command line names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use url::Url;

use super::walk::{Walk, is_glob};

/// A source of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input, `-`.
    Stdin,
    /// A file, or a directory of files.
    Path(PathBuf),
    /// Files by a pattern.
    Glob(String),
    /// An address.
    Web(Url),
    /// The feeds of a list.
    Opml(PathBuf, Vec<String>),
}

impl Source {
    /// What `text` names.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Url::parse(text).map(Self::Web).map_err(|error| format!("use {text}: {error}"));
        }
        match std::fs::metadata(text) {
            Ok(kind) if kind.is_file() => Ok(opml(Path::new(text)).unwrap_or_else(|| Self::path(text))),
            Ok(_) => Ok(Self::path(text)),
            Err(_) if is_glob(text) => {
                glob::Pattern::new(text).map_err(|error| format!("use {text}: {error}"))?;
                Ok(Self::Glob(absolute(Path::new(text)).display().to_string()))
            }
            Err(error) => Err(format!("read {text}: {error}")),
        }
    }

    /// The file or directory at `text`, there or not.
    pub fn path(text: &str) -> Self {
        Self::Path(absolute(Path::new(text)))
    }

    /// How it is shown.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".into(),
            Self::Path(path) | Self::Opml(path, _) => from_here(path),
            Self::Glob(pattern) => from_here(Path::new(pattern)),
            Self::Web(url) => crate::alert::public_url(url.as_str()),
        }
    }

    /// What it names on disk: a file, a directory, or the files of a pattern as far as they can be listed.
    pub fn on_disk(&self) -> Box<dyn Iterator<Item = PathBuf>> {
        match self {
            Self::Path(path) => Box::new(std::iter::once(path.clone())),
            Self::Glob(pattern) => Box::new(Walk::glob(pattern).into_iter().flatten().flatten()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// What tells it from other sources in every working directory.
    pub fn key(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::Path(path) | Self::Opml(path, _) => path.display().to_string(),
            Self::Glob(pattern) => pattern.clone(),
            Self::Web(url) => url.as_str().to_owned(),
        }
    }

    /// The addresses that it asks for, if it is on the web.
    pub fn feeds(&self) -> Option<Vec<String>> {
        match self {
            Self::Web(url) => Some(vec![url.as_str().to_owned()]),
            Self::Opml(_, feeds) => Some(feeds.clone()),
            _ => None,
        }
    }
}

/// One spelling for each path: where a run goes on is told by the names of files, and items without a link are known by the
/// file that they stand in.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The path as seen from the working directory, which is how it was named most likely.
fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inside = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    let inside = inside.filter(|inside| !inside.as_os_str().is_empty());
    inside.as_deref().unwrap_or(path).display().to_string()
}

/// The feeds of the file at `path`, if it is a list of feeds.
fn opml(path: &Path) -> Option<Source> {
    /// An OPML file says what it is at once; its length is that of a list, bytes.
    const HEAD: u64 = 4 * 1024;
    const MOST: u64 = 64 * 1024 * 1024;
    let mut file = File::open(path).ok()?;
    let mut text = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut text).ok()?;
    memchr::memmem::find(&text, b"<opml")?;
    file.take(MOST).read_to_end(&mut text).ok()?;
    let listing = crate::opml::read(&String::from_utf8_lossy(&text)).ok()?;
    Some(Source::Opml(absolute(path), listing.feeds.into_iter().map(|feed| feed.url).collect()))
}
