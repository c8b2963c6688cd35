//! What the command line names.

use std::path::{Path, PathBuf};

use url::Url;

use super::walk::is_glob;

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
            Ok(_) => Ok(Self::Path(text.into())),
            Err(_) if is_glob(text) => {
                glob::Pattern::new(text).map_err(|error| format!("use {text}: {error}"))?;
                Ok(Self::Glob(text.to_owned()))
            }
            Err(error) => Err(format!("read {text}: {error}")),
        }
    }

    /// How it is shown.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".into(),
            Self::Path(path) => path.display().to_string(),
            Self::Glob(pattern) => pattern.clone(),
            Self::Web(url) => crate::alert::public_url(url.as_str()),
        }
    }

    /// What tells it from other sources in every working directory.
    pub fn key(&self) -> String {
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        match self {
            Self::Stdin => "-".into(),
            Self::Path(path) => absolute(path),
            Self::Glob(pattern) => absolute(Path::new(pattern)),
            Self::Web(url) => url.as_str().to_owned(),
        }
    }
}
