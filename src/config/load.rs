//! Lays the user's file and the environment over the defaults and reports everything that is wrong at once.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::problem::unknown_key;
use super::{Config, DEFAULTS, Problem, env};
use crate::sink::SinkConfig;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {path}: {source}")]
    Unreadable {
        /// The file as the user named it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// One or more keys or values are wrong.
    #[error("use the configuration, {} to mend:\n{}", count(.0), lines(.0))]
    Wrong(Vec<Problem>),
}

fn count(problems: &[Problem]) -> String {
    format!("{} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" })
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The user's file, if there was one: relative paths in it start at its directory.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// `path` as the file means it: relative to the file's own directory.
    pub fn relative(&self, path: &Path) -> PathBuf {
        match self.file.as_deref().and_then(Path::parent) {
            Some(dir) => dir.join(path),
            None => path.to_owned(),
        }
    }
}

/// Reads the defaults, `file` over them and `vars` (the environment) over both.
///
/// # Errors
/// [`ConfigError::Unreadable`] for the file, [`ConfigError::Wrong`] with every problem found.
pub fn load(file: Option<&Path>, vars: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let text = file.map(read).transpose()?.unwrap_or_default();
    let name = file.map(|path| path.display().to_string()).unwrap_or_default();
    let config = merge(&name, &text, vars).map_err(ConfigError::Wrong)?;
    Ok(Loaded { config, file: file.map(Path::to_owned) })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

fn merge(name: &str, text: &str, vars: impl IntoIterator<Item = (String, String)>) -> Result<Config, Vec<Problem>> {
    let defaults: Table = toml::from_str(DEFAULTS).map_err(|error| vec![problem_of("config/demarche.toml", &error)])?;
    let mut merge = Merge { name, text, defaults: &defaults, merged: defaults.clone(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(user) => merge.table(user.get_ref(), &mut Vec::new()),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            merge.problems.push(Problem { place: format!("{name}:{line}"), message: error.message().to_owned() });
        }
    }
    merge.environment(vars);
    merge.finish()
}

/// The merge in progress. Each of the user's values is tried alone against the defaults, so that one wrong value does
/// not hide the next.
struct Merge<'a> {
    name: &'a str,
    text: &'a str,
    defaults: &'a Table,
    merged: Table,
    problems: Vec<Problem>,
}

impl Merge<'_> {
    fn table(&mut self, user: &DeTable<'_>, path: &mut Vec<String>) {
        for (key, value) in user {
            path.push(key.get_ref().to_string());
            let place = self.place(key.span().start);
            match (self.default_at(path).cloned(), value.get_ref()) {
                (None, _) => self.unknown(path, place),
                (Some(Value::Table(_)), DeValue::Table(inner)) => self.table(inner, path),
                (Some(Value::Array(_)), DeValue::Array(elements)) if is_tables(elements) => self.tables(elements, path),
                (Some(_), _) => self.leaf(path, owned(value), &self.place(value.span().start)),
            }
            path.pop();
        }
    }

    fn tables(&mut self, elements: &[Spanned<DeValue<'_>>], path: &[String]) {
        let known = keys_of(path.first().map_or("", String::as_str));
        for element in elements {
            if let DeValue::Table(table) = element.get_ref()
                && let Some(key) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()))
            {
                let name = key.get_ref().to_string();
                let message = unknown_key(&format!("{}.{name}", path.join(".")), &name, known.iter().copied());
                self.problems.push(Problem { place: self.place(key.span().start), message });
            } else {
                self.leaf(path, Value::Array(vec![owned(element)]), &self.place(element.span().start));
            }
        }
        let all = Value::Array(elements.iter().map(owned).collect());
        set(&mut self.merged, path, all);
    }

    fn leaf(&mut self, path: &[String], value: Value, place: &str) {
        let mut alone = self.defaults.clone();
        set(&mut alone, path, value.clone());
        match Config::deserialize(Value::Table(alone)) {
            Ok(_) => set(&mut self.merged, path, value),
            Err(error) => {
                let default = self.default_at(path).map_or(String::new(), |value| format!("; the default is {value}"));
                let message = format!("`{}`: {}{default}", path.join("."), error.message().trim());
                self.problems.push(Problem { place: place.to_owned(), message });
            }
        }
    }

    fn environment(&mut self, vars: impl IntoIterator<Item = (String, String)>) {
        let (overrides, problems) = env::overrides(vars, self.defaults);
        self.problems.extend(problems);
        for item in overrides {
            self.leaf(&[item.section, item.key], item.value, &item.name);
        }
    }

    fn unknown(&mut self, path: &[String], place: String) {
        let (name, parent) = match path.split_last() {
            Some((name, parent)) => (name, parent),
            None => return,
        };
        let known = match parent {
            [] => Some(self.defaults),
            _ => self.default_at(parent).and_then(Value::as_table),
        };
        let names: Vec<&str> = known.into_iter().flat_map(Table::keys).map(String::as_str).collect();
        let message = unknown_key(&path.join("."), name, names);
        self.problems.push(Problem { place, message });
    }

    fn default_at(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.defaults.get(first)?, |value, key| value.get(key))
    }

    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.name, line_of(self.text, offset))
    }

    fn finish(self) -> Result<Config, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Config::deserialize(Value::Table(self.merged)).map_err(|error| vec![problem_of(self.name, &error)])
    }
}

/// The keys of a block that may be repeated.
fn keys_of(block: &str) -> &'static [&'static str] {
    match block {
        "sink" => &SinkConfig::KEYS,
        _ => &["url", "title", "tags", "floor", "credential"],
    }
}

fn is_tables(elements: &[Spanned<DeValue<'_>>]) -> bool {
    elements.iter().any(|element| matches!(element.get_ref(), DeValue::Table(_)))
}

fn owned(value: &Spanned<DeValue<'_>>) -> Value {
    Value::deserialize(toml::de::ValueDeserializer::from(value.clone())).unwrap_or(Value::String(String::new()))
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(key) {
                set(inner, rest, value);
            }
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn problem_of(place: &str, error: &toml::de::Error) -> Problem {
    Problem { place: place.to_owned(), message: error.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        merge("my.toml", text, []).map(|_| vec![]).unwrap_or_else(|p| p.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_embedded_defaults_are_complete_and_valid() {
        assert_eq!(problems(DEFAULTS), Vec::<String>::new());
        assert_eq!(problems(""), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let found =
            problems("[log]\nlevle = \"debug\"\n\n[model]\nqueue = true\nalert_on = \"war\"\n[[feed]]\nurll = \"x\"\n");
        assert_eq!(found.len(), 4, "{found:#?}");
        assert_eq!(
            found
                .iter()
                .filter(|p| p.starts_with("my.toml:2: unknown key `log.levle`; did you mean `log.level`?"))
                .count(),
            1
        );
        assert!(found.iter().any(|p| p.starts_with("my.toml:5: `model.queue`")), "{found:#?}");
        assert!(found.iter().any(|p| p.starts_with("my.toml:6: `model.alert_on`")), "{found:#?}");
        assert!(found.iter().any(|p| p.contains("did you mean `feed.url`?")), "{found:#?}");
    }

    #[test]
    fn a_wrong_value_teaches_the_form_by_the_default() {
        let found = problems("[fetch]\ntimeout = \"10\"\n");
        assert!(found[0].ends_with("expected a duration; the default is \"60s\""), "{found:?}");
    }

    #[test]
    fn broken_toml_names_its_line() {
        assert!(problems("[log]\nlevel = \n")[0].starts_with("my.toml:2"), "{:?}", problems("[log]\nlevel = \n"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let vars = [("DEMARCHE_MODEL__QUEUE".to_owned(), "7".to_owned())];
        let config = merge("my.toml", "[model]\nqueue = 5\n", vars).unwrap();
        assert_eq!(config.model.queue, 7);
    }
}
