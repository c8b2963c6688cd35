//! The files of a directory or a glob, by name, depth first. A directory's names are sorted outside of memory when they are
//! many, so that a million files cost what a thousand do.

use std::ffi::OsString;
use std::fs::FileType;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::extsort::{Sorted, Sorter};

/// Files of a tree, in the order of their paths; what cannot be listed is an error in its place.
pub struct Walk {
    root: Option<PathBuf>,
    open: Vec<(PathBuf, Sorted)>,
    pattern: Option<glob::Pattern>,
    /// Directories within each other that are looked into.
    deepest: usize,
}

/// A path that cannot be read, and why.
pub type Unlisted = (PathBuf, io::Error);

const MATCH: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Walk {
    /// All files at and below `root`. A link to a directory is not followed: it may lead back here.
    pub fn tree(root: &Path) -> Self {
        Self { root: Some(root.to_owned()), open: Vec::new(), pattern: None, deepest: usize::MAX }
    }

    /// The files that `pattern` matches.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn glob(pattern: &str) -> Result<Self, glob::PatternError> {
        let compiled = glob::Pattern::new(pattern)?;
        let is_plain = |part: &&str| !is_glob(part);
        let parts: Vec<&str> = pattern.split('/').collect();
        let plain = parts.iter().copied().take_while(is_plain).collect::<Vec<_>>();
        let root = match plain.as_slice() {
            [] => ".".into(),
            [""] => "/".into(),
            plain => plain.join("/"),
        };
        let deepest = if pattern.contains("**") { usize::MAX } else { parts.len() - plain.len() };
        Ok(Self { root: Some(root.into()), open: Vec::new(), pattern: Some(compiled), deepest })
    }

    fn takes(&self, path: &Path) -> bool {
        let path = path.strip_prefix("./").unwrap_or(path);
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches_path_with(path, MATCH))
    }

    fn enter(&mut self, directory: PathBuf) -> Result<(), Unlisted> {
        match list(&directory) {
            Ok(names) => self.open.push((directory, names)),
            Err(error) => return Err((directory, error)),
        }
        Ok(())
    }
}

/// Whether `text` has any of a glob's signs.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A pipe or a device in a directory: it may have no end, or block. Named on the command line it is read.
fn no_file(path: PathBuf) -> Unlisted {
    (path, io::Error::other("a pipe, socket or device; name it as a source of its own if it is to be read"))
}

fn list(directory: &Path) -> io::Result<Sorted> {
    let mut names = Sorter::default();
    for entry in std::fs::read_dir(directory)? {
        names.push(entry?.file_name().as_bytes())?;
    }
    names.sorted()
}

impl Iterator for Walk {
    type Item = Result<PathBuf, Unlisted>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take() {
            match std::fs::metadata(&root) {
                Ok(kind) if kind.is_dir() => {
                    if let Err(unlisted) = self.enter(root) {
                        return Some(Err(unlisted));
                    }
                }
                Ok(_) => return Some(Ok(root)),
                Err(error) => return Some(Err((root, error))),
            }
        }
        loop {
            let (directory, names) = self.open.last_mut()?;
            let path = match names.next() {
                None => {
                    self.open.pop();
                    continue;
                }
                Some(Ok(name)) => directory.join(OsString::from_vec(name.into_vec())),
                Some(Err(error)) => return Some(Err((directory.clone(), error))),
            };
            // A link that leads nowhere is told of where it is opened.
            let kind = path.metadata().map(|file| file.file_type());
            if !kind.as_ref().is_ok_and(FileType::is_dir) {
                if self.takes(&path) {
                    return Some(if kind.is_ok_and(|kind| !kind.is_file()) { Err(no_file(path)) } else { Ok(path) });
                }
            } else if !path.is_symlink()
                && self.open.len() < self.deepest
                && let Err(unlisted) = self.enter(path)
            {
                return Some(Err(unlisted));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.xml", "a.xml", "a/z.xml", "a/b/c.json", "a-1.xml"] {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap().to_str().unwrap()).unwrap_or_default();
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        dir
    }

    fn names(walk: Walk, root: &Path) -> Vec<String> {
        walk.map(|path| path.unwrap().strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let dir = tree();
        let found = names(Walk::tree(dir.path()), dir.path());
        assert_eq!(found, ["a/b/c.json", "a/z.xml", "a-1.xml", "a.xml", "b.xml"]);
        let mut paths: Vec<PathBuf> = found.iter().map(PathBuf::from).collect();
        paths.sort();
        assert_eq!(found.iter().map(PathBuf::from).collect::<Vec<_>>(), paths);
    }

    #[test]
    fn globs_match_within_and_across_directories() {
        let dir = tree();
        let found = |pattern: &str| {
            let pattern = format!("{}/{pattern}", dir.path().display());
            names(Walk::glob(&pattern).unwrap(), dir.path())
        };
        assert_eq!(found("*.xml"), ["a-1.xml", "a.xml", "b.xml"]);
        assert_eq!(found("a/*.xml"), ["a/z.xml"]);
        assert_eq!(found("**/*.json"), ["a/b/c.json"]);
        assert!(Walk::glob("a***").is_err());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (path, _) = Walk::tree(Path::new("/nowhere/feed.xml")).next().unwrap().unwrap_err();
        assert_eq!(path, Path::new("/nowhere/feed.xml"));
    }
}
