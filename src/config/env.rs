//! `DEMARCHE_<SECTION>__<KEY>=value` over the file: two underscores between section and key.

use toml::{Table, Value};

use super::problem::{Problem, nearest};

const PREFIX: &str = "DEMARCHE_";

/// One override: the variable's name, the path of its key, its value.
#[derive(Debug, PartialEq)]
pub(super) struct Override {
    pub name: String,
    pub section: String,
    pub key: String,
    pub value: Value,
}

/// Reads the overrides among `vars`; variables of other uses (no double underscore) are passed over unless they begin
/// with a section's name, which is a likely slip.
pub(super) fn overrides(
    vars: impl IntoIterator<Item = (String, String)>,
    defaults: &Table,
) -> (Vec<Override>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in vars {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        match rest.to_lowercase().split_once("__") {
            Some((section, key)) => match check(&name, section, key, defaults) {
                Ok(()) => found.push(Override {
                    section: section.to_owned(),
                    key: key.to_owned(),
                    value: value(&text, defaults, section, key),
                    name,
                }),
                Err(problem) => problems.push(problem),
            },
            None => problems.extend(slip(&name, &rest.to_lowercase(), defaults)),
        }
    }
    (found, problems)
}

fn check(name: &str, section: &str, key: &str, defaults: &Table) -> Result<(), Problem> {
    let sections = defaults.iter().filter(|(_, v)| v.is_table()).map(|(k, _)| k.as_str());
    let Some(Value::Table(table)) = defaults.get(section) else {
        return Err(unknown(name, "section", section, nearest(section, sections)));
    };
    if table.contains_key(key) {
        return Ok(());
    }
    Err(unknown(name, "key", key, nearest(key, table.keys().map(String::as_str))))
}

fn unknown(name: &str, what: &str, wrong: &str, right: Option<&str>) -> Problem {
    let hint = right.map(|right| format!("; did you mean `{right}`?")).unwrap_or_default();
    Problem { place: name.to_owned(), message: format!("unknown {what} `{wrong}`{hint}") }
}

/// `DEMARCHE_FETCH_TIMEOUT`: one underscore too few.
fn slip(name: &str, rest: &str, defaults: &Table) -> Option<Problem> {
    let (section, key) = defaults.iter().filter(|(_, v)| v.is_table()).find_map(|(section, table)| {
        let key = rest.strip_prefix(section.as_str())?.strip_prefix('_')?;
        table.as_table()?.contains_key(key).then_some((section, key))
    })?;
    let right = format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase());
    Some(Problem {
        place: name.to_owned(),
        message: format!("write it `{right}`, with two underscores after the section"),
    })
}

/// The text as the key's kind of value: strings stay strings, everything else is read as TOML.
fn value(text: &str, defaults: &Table, section: &str, key: &str) -> Value {
    let is_text = defaults.get(section).and_then(|table| table.get(key)).is_some_and(Value::is_str);
    let as_toml = || toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut table| table.remove("v"));
    match as_toml() {
        Some(value) if !is_text || !value.is_datetime() => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> (Vec<Override>, Vec<Problem>) {
        let defaults =
            toml::from_str("[fetch]\ntimeout = \"30s\"\nmax_redirects = 5\n[log]\nlevel = \"info\"").unwrap();
        overrides([(name.to_owned(), text.to_owned())], &defaults)
    }

    #[test]
    fn values_take_the_kind_they_are_written_in() {
        let (found, problems) = read("DEMARCHE_FETCH__TIMEOUT", "10s");
        assert_eq!((found[0].value.clone(), problems.len()), (Value::String("10s".into()), 0));
        assert_eq!(read("DEMARCHE_FETCH__MAX_REDIRECTS", "3").0[0].value, Value::Integer(3));
    }

    #[test]
    fn a_wrong_key_names_the_right_one() {
        let (_, problems) = read("DEMARCHE_FETCH__TIMOUT", "1s");
        assert_eq!(problems[0].to_string(), "DEMARCHE_FETCH__TIMOUT: unknown key `timout`; did you mean `timeout`?");
    }

    #[test]
    fn one_underscore_is_a_slip_worth_a_line() {
        let (_, problems) = read("DEMARCHE_LOG_LEVEL", "debug");
        assert!(problems[0].message.contains("DEMARCHE_LOG__LEVEL"), "{problems:?}");
    }

    #[test]
    fn variables_of_other_uses_are_left_alone() {
        assert_eq!(read("DEMARCHE_CACHE", "/tmp"), (vec![], vec![]));
        assert_eq!(read("PATH", "/bin"), (vec![], vec![]));
    }
}
