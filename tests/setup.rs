//! Set-up: what it fetches and keeps, and the one line it prints when something is missing.
//!
//! Drives `models/setup.py` in a checkout and a cache of its own, with a PATH that holds only what the test puts there.
//! Wheels of a few bytes take the place of the pinned ones (see `setup/small_wheels.py`); pip is the real one.

#![cfg(target_os = "linux")] // the only system that set-up fetches libtorch for
#![expect(clippy::unwrap_used, reason = "clippy.toml excuses the tests, not the functions that they share")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

const REPO: &str = env!("CARGO_MANIFEST_DIR");

/// A machine with Rust and a C++ compiler (scripts that say so) and nothing of ours.
struct Machine {
    root: tempfile::TempDir,
    python: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap(), python: python() };
        for dir in ["bin", "checkout/models", "home"] {
            fs::create_dir_all(machine.path(dir)).unwrap();
        }
        for file in ["models/setup.py", "Cargo.toml"] {
            fs::copy(Path::new(REPO).join(file), machine.path("checkout").join(file)).unwrap();
        }
        machine.tool("cargo", "echo cargo 99.0.0");
        machine.tool("cc", "");
        machine.tool("c++", "");
        machine
    }

    /// A machine on which set-up has run once.
    fn ready() -> Self {
        static CACHE: LazyLock<PathBuf> = LazyLock::new(|| {
            let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("setup-cache");
            succeeds(Machine::new().small(&[]).env("DEMARCHE_CACHE", &cache));
            cache
        });
        let machine = Self::new();
        // -a keeps the times, by which set-up knows the files again
        assert!(Command::new("cp").arg("-a").args([&*CACHE, &machine.path("cache")]).status().unwrap().success());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn without_tool(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Python with only this machine's PATH and HOME; pip looks nowhere but into `wheels`.
    fn python(&self) -> Command {
        let mut command = Command::new(&self.python);
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("DEMARCHE_CACHE", self.path("cache"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", self.path("wheels"));
        command
    }

    /// Set-up exactly as it is shipped.
    fn shipped(&self) -> Command {
        let mut command = self.python();
        command.arg(self.path("checkout/models/setup.py"));
        command
    }

    /// Set-up with the small wheels, after `statements` have run.
    fn small(&self, statements: &[&str]) -> Command {
        let mut command = self.python();
        command.arg(Path::new(REPO).join("tests/setup/small_wheels.py"));
        command.args([self.path("checkout"), self.path("wheels")]).args(statements);
        command
    }
}

/// The interpreter itself: `python3` may be a script that needs more of a PATH than the tests give it.
fn python() -> PathBuf {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}{}", text(&stdout), text(&stderr));
    text(&stdout)
}

/// Runs `command`, which must fail with exactly one line on standard error that holds all of `parts`.
fn fails(command: &mut Command, parts: &[&str]) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = text(&stderr);
    assert!(!status.success(), "succeeded: {}", text(&stdout));
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    assert!(said.starts_with("set-up: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn takes_what_is_named_and_nothing_else() {
    let machine = Machine::new();
    let said = succeeds(&mut machine.small(&[]));
    assert!(said.contains("downloading torch 2.4.1"), "{said}");

    let libtorch = machine.path("cache/libtorch-2.4.1");
    for (file, content) in [
        ("lib/libtorch_cpu.so", "cpu"),
        ("lib/libtorch.so", "cpu"),
        ("lib/libc10.so", "c10"),
        ("lib/libgomp-1.so.1", "gomp"),
        ("lib/libcudart.so.12", "cudart"),
        ("lib/libcupti.so.12", "cupti"),
        ("include/torch/torch.h", "header"),
    ] {
        assert_eq!(fs::read_to_string(libtorch.join(file)).unwrap(), content);
    }
    assert_eq!(fs::read_dir(libtorch.join("lib")).unwrap().count(), 6);
    assert!(fs::symlink_metadata(libtorch.join("lib/libtorch.so")).unwrap().is_symlink());
    assert_eq!(machine.read("cache/all-MiniLM-L6-v2/config.json"), "config.json");
    let mut left: Vec<_> =
        fs::read_dir(machine.path("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", "all-MiniLM-L6-v2", "libtorch-2.4.1"], "the wheels are deleted");
}

#[test]
fn tells_cargo_where_libtorch_is() {
    let machine = Machine::ready();
    succeeds(&mut machine.small(&[]));
    let config: toml::Table = machine.read("checkout/.cargo/config.toml").parse().unwrap();
    let libtorch = machine.path("cache/libtorch-2.4.1");
    assert_eq!(config["env"]["LIBTORCH"].as_str(), libtorch.to_str());
    assert_eq!(config["env"]["LIBTORCH_CXX11_ABI"].as_str(), Some("0"));
}

#[test]
fn second_run_fetches_nothing() {
    let machine = Machine::ready();
    let said = succeeds(machine.small(&[]).env("PIP_FIND_LINKS", "/nonexistent"));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("ready: "), "{said}");
}

#[test]
fn cache_that_may_only_be_read_is_used() {
    let machine = Machine::ready();
    fs::remove_file(machine.path("cache/.lock")).unwrap();
    fs::set_permissions(machine.path("cache"), fs::Permissions::from_mode(0o555)).unwrap();
    let said = succeeds(&mut machine.small(&[]));
    fs::set_permissions(machine.path("cache"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(said.contains("ready: ") && !machine.path("cache/.lock").exists(), "{said}");
}

#[test]
fn files_put_there_by_hand_are_checked_and_kept() {
    let machine = Machine::ready();
    fs::remove_file(machine.path("cache/libtorch-2.4.1/.complete")).unwrap();
    let said = succeeds(machine.small(&[]).env("PIP_FIND_LINKS", "/nonexistent"));
    assert!(!said.contains("downloading") && machine.path("cache/libtorch-2.4.1/.complete").exists(), "{said}");
}

#[test]
fn damaged_files_are_fetched_again() {
    let machine = Machine::ready();
    machine.write("cache/libtorch-2.4.1/lib/libc10.so", "cut off");
    let said = succeeds(&mut machine.small(&[]));
    assert!(said.contains("downloading torch") && !said.contains("downloading gt-all"), "{said}");
    assert_eq!(machine.read("cache/libtorch-2.4.1/lib/libc10.so"), "c10");
}

#[test]
fn goes_on_after_an_interruption() {
    let machine = Machine::new();
    fails(
        &mut machine.small(&["setup.extract = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())"]),
        &["interrupted"],
    );
    assert!(!machine.path("cache/libtorch-2.4.1").exists());
    let said = succeeds(&mut machine.small(&[]));
    assert!(!said.contains("downloading torch"), "the wheel that was complete is fetched twice: {said}");
}

#[test]
fn waits_for_another_set_up() {
    let machine = Machine::new();
    let lock = fs::File::create(machine.write("cache/.lock", "")).unwrap();
    lock.lock().unwrap();
    let mut waiting = machine.small(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert!(first.contains("another set-up is running"), "{first}");
    assert!(!machine.path("cache/.downloads").exists());
    lock.unlock().unwrap();
    said.read_to_string(&mut first).unwrap();
    assert!(waiting.wait().unwrap().success() && first.contains("ready: "), "{first}");
}

#[test]
fn own_libtorch_is_kept() {
    let machine = Machine::ready();
    machine.write("own/lib/libtorch_cpu.so", "");
    machine.write("own/lib/libc10.so", "… _ZN3c105ErrorC1ENS_14SourceLocationESs …");
    machine.write("own/build-version", "2.4.1+cpu\n");
    let said = succeeds(machine.small(&[]).env("LIBTORCH", machine.path("own")));
    assert!(said.contains("keeping your own libtorch 2.4.1+cpu") && !said.contains("libtorch-2.4.1"), "{said}");
    let config: toml::Table = machine.read("checkout/.cargo/config.toml").parse().unwrap();
    assert_eq!(config["env"]["LIBTORCH"].as_str(), machine.path("own").to_str());
    assert_eq!(config["env"]["LIBTORCH_CXX11_ABI"].as_str(), Some("0"));
    assert_eq!(config["env"]["LIBTORCH_BYPASS_VERSION_CHECK"].as_str(), Some("1"));
}

#[test]
fn own_libtorch_with_the_present_abi() {
    let machine = Machine::ready();
    machine.write("own/lib/libtorch_cpu.so", "");
    machine.write("own/lib/libc10.so", "… _ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_string …");
    succeeds(machine.small(&[]).env("LIBTORCH", machine.path("own")));
    let config: toml::Table = machine.read("checkout/.cargo/config.toml").parse().unwrap();
    assert_eq!(config["env"]["LIBTORCH_CXX11_ABI"].as_str(), Some("1"));
    assert!(!config["env"].as_table().unwrap().contains_key("LIBTORCH_BYPASS_VERSION_CHECK"));
}

#[test]
fn own_pytorch_is_kept() {
    let machine = Machine::ready();
    machine.tool("python3", "echo 2.4.0");
    let said = succeeds(machine.small(&[]).env("LIBTORCH_USE_PYTORCH", "1"));
    assert!(said.contains("keeping your own libtorch 2.4.0"), "{said}");
    let config: toml::Table = machine.read("checkout/.cargo/config.toml").parse().unwrap();
    assert_eq!(config["env"].as_table().unwrap().len(), 1);
    assert_eq!(config["env"]["LIBTORCH_USE_PYTORCH"].as_str(), Some("1"));
}

#[test]
fn own_libtorch_that_cannot_serve() {
    let machine = Machine::new();
    fails(machine.shipped().env("LIBTORCH", "/nonexistent"), &["no libtorch in /nonexistent/lib", "unset it"]);
    fails(machine.shipped().env("LIBTORCH", "own"), &["LIBTORCH is own", "absolute"]);
    fails(machine.shipped().env("LIBTORCH_USE_PYTORCH", "1"), &["cannot import torch", "unset it"]);
    machine.write("own/lib/libtorch_cpu.so", "");
    machine.write("own/build-version", "2.1.0\n");
    fails(machine.shipped().env("LIBTORCH", machine.path("own")), &["2.1.0", "needs 2.4"]);
}

#[test]
fn own_base_model_is_kept_if_it_is_the_one() {
    let machine = Machine::ready();
    for file in ["model.safetensors", "config.json", "vocab.txt"] {
        machine.write(&format!("own/{file}"), "abc");
    }
    let own = machine.path("own");
    let abc = "setup.MODEL_SHA256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'"; // SHA-256 of "abc"
    let said = succeeds(machine.small(&[abc]).env("DEMARCHE_MODEL__BASE", &own));
    assert!(said.contains("keeping your own base model") && said.ends_with(&format!("{}\n", own.display())), "{said}");
    fails(machine.small(&[]).env("DEMARCHE_MODEL__BASE", &own), &["is not all-MiniLM-L6-v2", "unset"]);
    fs::remove_file(own.join("vocab.txt")).unwrap();
    fails(machine.small(&[]).env("DEMARCHE_MODEL__BASE", &own), &["vocab.txt is missing", "unset"]);
}

#[test]
fn own_cargo_configuration_is_not_overwritten() {
    let machine = Machine::ready();
    machine.write("checkout/.cargo/config.toml", "[build]\njobs = 1\n");
    fails(&mut machine.small(&[]), &["config.toml is your own", "LIBTORCH = ", "LIBTORCH_CXX11_ABI = \"0\""]);
    assert_eq!(machine.read("checkout/.cargo/config.toml"), "[build]\njobs = 1\n");
}

#[test]
fn old_python() {
    let machine = Machine::new();
    let pretend = "import sys, runpy; sys.version_info = (3, 8, 0); runpy.run_path(sys.argv[1], run_name='__main__')";
    let script = machine.path("checkout/models/setup.py");
    fails(machine.python().args(["-c", pretend]).arg(script), &["python 3.9 or later", "this is 3.8", "install"]);
}

#[test]
fn no_pip() {
    let machine = Machine::new();
    machine.write("hidden/pip.py", "raise ImportError('no pip here')");
    fails(machine.small(&[]).env("PYTHONPATH", machine.path("hidden")), &["has no pip", "python3-pip"]);
}

#[test]
fn no_cargo() {
    let machine = Machine::new();
    machine.without_tool("cargo");
    fails(&mut machine.shipped(), &["cargo is not in PATH", "install Rust"]);
}

#[test]
fn old_rust() {
    let machine = Machine::new();
    machine.tool("cargo", "echo 'cargo 1.70.0 (ec8a8a0ca 2023-04-25)'");
    fails(&mut machine.shipped(), &["or later is needed, this is 1.70", "rustup update"]);
}

#[test]
fn no_compiler() {
    let machine = Machine::new();
    fails(
        machine.shipped().env("CXX", "no-such-compiler -O2"),
        &["no C++ compiler, `no-such-compiler`", "install g++"],
    );
    machine.without_tool("c++");
    fails(&mut machine.shipped(), &["no C++ compiler", "install g++"]);
    machine.without_tool("cc");
    fails(&mut machine.shipped(), &["no C compiler"]);
}

#[test]
fn no_python() {
    let machine = Machine::new();
    let Output { status, stderr, .. } = Command::new("make")
        .args(["--silent", "-C", REPO, "setup", "PYTHON=no-such-python"])
        .env_remove("MAKEFLAGS") // the tests may run under make, whose own lines are left out below
        .current_dir(machine.root.path())
        .output()
        .unwrap();
    assert!(!status.success());
    let said = text(&stderr);
    let ours: Vec<_> = said.lines().filter(|line| !line.starts_with("make")).collect();
    assert_eq!(ours, ["set-up: no-such-python is not in PATH: install python 3.9 or later, with pip"]);
}

#[test]
fn no_network() {
    let machine = Machine::new();
    let mut offline = machine.small(&[]);
    offline.env_remove("PIP_NO_INDEX").env_remove("PIP_FIND_LINKS").env("PIP_RETRIES", "1");
    offline.env("PIP_INDEX_URL", "http://127.0.0.1:1/"); // no one listens on port 1
    fails(&mut offline, &["no connection to the package index for nvidia-cuda-runtime-cu12 12.1.105", "HTTPS_PROXY"]);
}

#[test]
fn index_without_the_wheel() {
    let machine = Machine::new();
    let nothing = "import glob, os; [os.remove(file) for file in glob.glob(f'{wheels}/torch-*.whl')]";
    fails(&mut machine.small(&[nothing]), &["pip cannot fetch torch 2.4.1", "No matching distribution", "which index"]);
}

#[test]
fn wheel_with_another_hash() {
    let machine = Machine::new();
    let other = "next(wheels.glob('torch-*.whl')).open('ab').write(b'one byte more')";
    fails(&mut machine.small(&[other]), &["torch 2.4.1 is not the expected file", "which index"]);
    assert!(!machine.path("cache/libtorch-2.4.1").exists());
}

#[test]
fn full_disk() {
    let machine = Machine::new();
    let full = "setup.shutil.disk_usage = lambda _: shutil._ntuple_diskusage(10, 10, 0)";
    fails(&mut machine.small(&[full]), &["GB free", "DEMARCHE_CACHE"]);
}

#[test]
fn cache_that_cannot_be_written() {
    let machine = Machine::new();
    let file = machine.write("file", "");
    fails(machine.small(&[]).env("DEMARCHE_CACHE", file.join("cache")), &["file/cache", "permissions"]);
}

#[test]
fn machine_without_a_wheel() {
    let machine = Machine::new();
    let other = "setup.platform.machine = lambda: 'riscv64'";
    fails(
        &mut machine.small(&[other]),
        &["no libtorch wheel for linux on riscv64", "LIBTORCH", "--no-default-features"],
    );
    let musl = "setup.platform.libc_ver = lambda: ('', '')";
    fails(&mut machine.small(&[musl]), &["glibc", "LIBTORCH"]);
}

#[test]
fn built_program_finds_libtorch_by_itself() {
    // env_clear: cargo gives its tests a library path that a user's shell does not have
    let said = succeeds(Command::new(env!("CARGO_BIN_EXE_demarche")).env_clear().arg("--version"));
    assert!(said.starts_with("demarche "), "{said}");
}
