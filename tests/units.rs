//! The systemd units: valid, hardened alike, and their commands are ones that the program knows.

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use program::{Program, read_alerts, rss, talks};

const UNITS: [&str; 3] = ["demarche.service", "demarche-backfill@.service", "demarche-backfill@.timer"];

/// What `systemd-analyze security` may say at most, in tenths.
const EXPOSURE: &str = "20";

fn unit(name: &str) -> String {
    std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd")).join(name)).unwrap()
}

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The units with the binary that is tested; `None` where there is no systemd to ask.
fn analyze(args: &[&str]) -> Option<std::process::Output> {
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        let text = unit(name).replace("/usr/local/bin/demarche", env!("CARGO_BIN_EXE_demarche"));
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    match Command::new("systemd-analyze").args(args).current_dir(dir.path()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("not asked: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong() {
    let units = ["./demarche.service", "./demarche-backfill@.service", "./demarche-backfill@history.timer"];
    let Some(output) = analyze(&[&["verify"], &units[..]].concat()) else { return };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("demarche"), "{said}");
}

#[test]
fn the_services_are_exposed_little() {
    for name in UNITS.iter().filter(|name| name.ends_with(".service")) {
        let args =
            ["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}"), &format!("./{name}")];
        let Some(output) = analyze(&args) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Overall exposure level for demarche"));
    }
}

/// What shuts a service in is the same for both: one that is changed alone was forgotten in the other.
#[test]
fn both_services_are_shut_in_alike() {
    let keys = [
        "Protect",
        "Private",
        "Restrict",
        "Capability",
        "Ambient",
        "NoNew",
        "Remove",
        "Lock",
        "SystemCall",
        "DynamicUser",
        "UMask",
    ];
    let walls = |name: &str| -> BTreeSet<String> {
        let shut_in = |line: &&str| keys.iter().any(|key| line.starts_with(key)) && !line.starts_with("RestartPrevent");
        unit(name).lines().filter(shut_in).map(str::to_owned).collect()
    };
    assert!(walls(UNITS[0]).len() > 20);
    assert_eq!(walls(UNITS[0]), walls(UNITS[1]));
}

/// Runs what `ExecStart` says, its variables filled in as systemd does: `${X}` is one word, `$X` as many as it holds.
#[test]
fn the_backfill_unit_runs_what_its_file_says_in_a_state_of_its_own() {
    let service = unit(UNITS[1]);
    assert_eq!(values(&service, "EnvironmentFile"), ["/etc/demarche/backfill/%i.env"]);
    assert_eq!(values(&service, "StateDirectory"), ["demarche-backfill/%i"]);
    assert_eq!(values(&service, "WorkingDirectory"), ["%S/demarche-backfill/%i"]);
    let program = Program::new();
    let (state, archive) = (program.dir.path().join("state"), program.dir.path().join("archive"));
    std::fs::create_dir_all(&state).unwrap();
    std::fs::create_dir_all(&archive).unwrap();
    std::fs::write(archive.join("old.xml"), rss((0..4).map(|id| (id, talks(id))))).unwrap();
    // A configuration that sends its alerts elsewhere, as the daemon's may.
    let config = program.dir.path().join("demarche.toml");
    std::fs::write(&config, format!("[output]\nfile = \"{}\"\n", program.dir.path().join("daemon.jsonl").display()))
        .unwrap();

    let filled = values(&service, "ExecStart")[0]
        .replace("/usr/local/bin/demarche", env!("CARGO_BIN_EXE_demarche"))
        .replace("${CONFIG}", config.to_str().unwrap())
        .replace("${STATE_DIRECTORY}", state.to_str().unwrap())
        .replace("$BACKFILL", &format!("{} --rejects rejects.jsonl --report report.html", archive.display()));
    assert!(!filled.contains('$'), "{filled}");
    let mut words = filled.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(&state).env("DEMARCHE_MODEL__SCORER", "linear");
    for setting in values(&service, "Environment").iter().flat_map(|line| line.split_whitespace()) {
        let (name, value) = setting.split_once('=').unwrap();
        // The model is where it is installed; the linear one needs none.
        if name != "DEMARCHE_MODEL__BASE" {
            command.env(name, value);
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read_alerts(&state.join("alerts.jsonl")).len(), 4);
    assert!(state.join("rejects.jsonl").exists() && state.join("report.html").exists());
    assert!(!program.dir.path().join("daemon.jsonl").exists());
}
