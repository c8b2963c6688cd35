//! One thing wrong with the configuration, and where it stands.

use std::fmt;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line (`demarche.toml:12`) or the name of an environment variable.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The known name nearest to `wrong`, when one is near enough to be what was meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this Jaro-Winkler similarity (0–1) a suggestion misleads more often than it helps.
    const NEAR_ENOUGH: f64 = 0.75;
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(similarity, _)| *similarity >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// "unknown key `x`; did you mean `y`?", or the list of names there are.
pub(super) fn unknown_key<'a>(path: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(right) => format!("unknown key `{path}`; did you mean `{}`?", sibling(path, name, right)),
        None => {
            let names: Vec<&str> = known.into_iter().collect();
            format!("unknown key `{path}`; known here: {}", names.join(", "))
        }
    }
}

fn sibling(path: &str, name: &str, right: &str) -> String {
    format!("{}{right}", path.strip_suffix(name).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_under_the_same_parent() {
        let text = unknown_key("fetch.time_out", "time_out", ["timeout", "user_agent"]);
        assert_eq!(text, "unknown key `fetch.time_out`; did you mean `fetch.timeout`?");
    }

    #[test]
    fn lists_the_names_when_none_is_near() {
        assert_eq!(unknown_key("zzz", "zzz", ["state", "log"]), "unknown key `zzz`; known here: state, log");
    }
}
