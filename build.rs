//! Tells the linker where the program will find libtorch, so that no one has to set LD_LIBRARY_PATH.

use std::path::Path;

/// Where `make install` puts libtorch, seen from the directory of the installed program.
const INSTALLED: &str = "../lib/demarche";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_BERT").is_none() {
        return;
    }
    // torch-sys says where it found libtorch, whichever of its ways (LIBTORCH, LIBTORCH_USE_PYTORCH, /usr/lib) that was.
    let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=libtorch is missing: run `make setup`, or build with --no-default-features");
        return;
    };
    check_abi(Path::new(&libtorch));
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {
            // DT_RPATH instead of the newer DT_RUNPATH: it holds for the libraries that libtorch itself needs, too.
            println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
            // A package holds libtorch, and the machine that built it has no say in where it runs. $ORIGIN wants /proc, which
            // a root that is being made may lack.
            println!("cargo::rerun-if-env-changed=DEMARCHE_PACKAGE");
            let found = if std::env::var_os("DEMARCHE_PACKAGE").is_some() { "/usr/lib/demarche" } else { &libtorch };
            println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/{INSTALLED}:{found}");
        }
        Ok("macos") => println!("cargo::rustc-link-arg=-Wl,-rpath,@executable_path/{INSTALLED},-rpath,{libtorch}"),
        _ => {}
    }
}

/// One clear line instead of a page of undefined references when LIBTORCH was changed and LIBTORCH_CXX11_ABI was not.
fn check_abi(libtorch: &Path) {
    println!("cargo::rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    println!("cargo::rerun-if-env-changed=LIBTORCH_USE_PYTORCH");
    let asked_python = std::env::var_os("LIBTORCH_USE_PYTORCH").is_some();
    let Ok(library) = std::fs::read(libtorch.join("libc10.so")) else { return };
    // The name of a constructor of c10::Error that takes a std::string, in the ABI from before C++11.
    let symbol = b"_ZN3c105ErrorC1ENS_14SourceLocationESs";
    let has = if library.windows(symbol.len()).any(|window| window == symbol) { "0" } else { "1" };
    let compiled_for = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    if !asked_python && compiled_for != has {
        let dir = libtorch.display();
        println!(
            "cargo::error=libtorch in {dir} has the other C++ ABI: set LIBTORCH_CXX11_ABI={has}, or run `make setup` again"
        );
    }
}
