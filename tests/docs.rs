//! The documents say what the program does: the README's configuration table is made from `config/demarche.toml`, and
//! its commands are those of `--help`. `UPDATE_DOCS=1 cargo test --test docs` writes the table anew.

use std::process::Command;

use demarche::config::DEFAULTS;

const BEGIN: &str = "<!-- configuration table: made by `UPDATE_DOCS=1 cargo test --test docs` -->\n";
const END: &str = "<!-- end of the configuration table -->\n";

/// One row a key: name, default, the comment above it. Keys that share a comment share the row's text.
fn table() -> String {
    let (mut section, mut comment, mut rows) = (String::new(), Vec::new(), String::new());
    let mut fresh = false;
    for line in DEFAULTS.lines().skip_while(|line| !line.starts_with('[')) {
        if let Some(name) = line.strip_prefix('[') {
            (section, comment) = (name.trim_end_matches(']').to_owned(), Vec::new());
        } else if let Some(text) = line.strip_prefix('#') {
            if fresh {
                comment.clear();
            }
            comment.push(text.trim().to_owned());
            fresh = false;
        } else if let Some((key, default)) = line.split_once(" = ") {
            let text = comment.join(" ").replace('|', "\\|");
            rows += &format!("| `{section}.{key}` | `{default}` | {text} |\n");
            fresh = true;
        }
    }
    format!("| key | default | meaning |\n|---|---|---|\n{rows}")
}

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn the_configuration_table_is_that_of_the_defaults() {
    let readme = readme();
    let (before, rest) = readme.split_once(BEGIN).expect("the table's first line in README.md");
    let (now, after) = rest.split_once(END).expect("the table's last line in README.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"), new).unwrap();
    } else {
        assert_eq!(now.trim(), table().trim(), "run UPDATE_DOCS=1 cargo test --test docs");
    }
}

#[test]
fn the_readme_names_every_command() {
    let help = Command::new(env!("CARGO_BIN_EXE_demarche")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| line.starts_with("  "))
        .filter(|line| line.chars().nth(2).is_some_and(|first| first != ' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 5, "{help}");
    for name in names {
        assert!(readme().contains(&format!("`demarche {name}")), "`demarche {name}` is not in README.md");
    }
}

#[test]
fn nothing_is_left_to_fill_in() {
    assert!(!readme().contains("TODO"), "README.md has something left to fill in");
}
