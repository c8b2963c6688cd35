//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use demarche::cli::{Cli, Exit};

fn main() -> ExitCode {
    match demarche::cli::run(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("demarche: failed to {error:#}");
            Exit::of(&error).into()
        }
    }
}
