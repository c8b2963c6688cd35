//! The binary: arguments in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use demarche::cli::{Cli, Exit, exit};

fn main() -> ExitCode {
    match demarche::cli::run(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Ok {
                // Nobody is left to tell when standard error is closed too.
                let _ = writeln!(std::io::stderr(), "demarche: failed to {}", exit::message(&error));
            }
            exit.into()
        }
    }
}
