//! `demarche label` at a terminal, where one press of a key is an answer, or over a pipe, where a line is.

use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read};

use super::Common;
use super::alerts::read::each;
use super::exit::Exit;
use super::setup::setup;
use crate::train::label::{self, LabelArgs};

pub(super) fn run(common: &Common, args: &LabelArgs) -> anyhow::Result<Exit> {
    let setup = setup(common)?;
    let items = match &args.from_alerts {
        None => label::read(&args.file.clone().unwrap_or_default())?,
        Some(path) => {
            let path = path.clone().unwrap_or_else(|| setup.alert_file());
            let mut lines = Vec::new();
            each(&path, |line| lines.push(line.line))?;
            label::of_alerts(&path, lines)?
        }
    };
    let input = std::io::stdin();
    let mut keys: Box<dyn BufRead> = match input.is_terminal() {
        true => Box::new(BufReader::new(Keys { term: console::Term::stdout(), typed: Vec::new() })),
        false => Box::new(input.lock()),
    };
    label::run(&items, &args.out, &setup.config().model, &mut *keys, &mut std::io::stdout().lock())?;
    Ok(Exit::Ok)
}

/// Every key that is pressed, as a line.
struct Keys {
    term: console::Term,
    /// Read and not yet handed out.
    typed: Vec<u8>,
}

impl Read for Keys {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.typed.is_empty() {
            let pressed = match self.term.read_char() {
                Ok(pressed) => pressed,
                // Ctrl-C ends the session; what was answered is kept.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotConnected) => return Ok(0),
                Err(error) => return Err(error),
            };
            let shown = if pressed.is_control() { String::new() } else { pressed.to_string() };
            self.term.write_line(&shown)?;
            self.typed = format!("{shown}\n").into_bytes();
        }
        let count = self.typed.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.typed[..count]);
        self.typed.drain(..count);
        Ok(count)
    }
}
