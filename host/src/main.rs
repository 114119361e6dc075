//! The program `jiffy`.

mod cli;
mod command;
mod device_options;
mod runs;

use jiffy::clock::Clock;
use std::process::ExitCode;

/// Bad usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let clock = Clock::since_process_start();
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(cli::Command::Run(run)) => command::run(*run, clock),
        Ok(cli::Command::Probe(json)) => command::probe(json),
        Ok(cli::Command::Print(text)) => command::print(&text),
        Err(error) => {
            eprintln!("jiffy: {error}\nTry `jiffy --help`.");
            ExitCode::from(USAGE)
        }
    }
}
