//! Times commands: from before the fork to the first byte on their standard output, and to their exit.
//!
//! `jiffy-stopwatch RUNS COMMAND [ARG...] [-- COMMAND [ARG...]]...` runs each RUNS times, in turns, so that what changes
//! on the machine changes for all. It prints a line of JSON for each run, with the exit status, which it does not judge.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// One run, in microseconds, and its exit status.
struct Times {
    first: f64,
    exit: f64,
    status: i32,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match parse(&args).and_then(|(runs, commands)| measure(runs, &commands)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // With no standard error there is nowhere to say it.
            let _ = writeln!(io::stderr(), "jiffy-stopwatch: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<(u32, Vec<&[String]>), String> {
    let usage =
        || "usage: jiffy-stopwatch RUNS COMMAND [ARG...] [-- COMMAND [ARG...]]...".to_owned();
    let (runs, commands) = args.split_first().ok_or_else(usage)?;
    let runs = runs.parse().map_err(|_| usage())?;
    let commands: Vec<_> = commands.split(|arg| arg == "--").collect();
    if commands.iter().any(|command| command.is_empty()) {
        return Err(usage());
    }
    Ok((runs, commands))
}

fn measure(runs: u32, commands: &[&[String]]) -> Result<(), String> {
    for _ in 0..runs {
        for (number, command) in commands.iter().enumerate() {
            let Times {
                first,
                exit,
                status,
            } = time(command).map_err(|why| format!("{}: {why}", command.join(" ")))?;
            writeln!(
                io::stdout(),
                r#"{{"command":{number},"first_us":{first},"exit_us":{exit},"status":{status}}}"#
            )
            .map_err(|why| why.to_string())?;
        }
    }
    Ok(())
}

fn time(command: &[String]) -> io::Result<Times> {
    let since = |began: Instant| began.elapsed().as_secs_f64() * 1e6;
    let mut process = Command::new(&command[0]);
    process
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = process.spawn()?;
    let mut byte = [0];
    let read = match &mut child.stdout {
        Some(stdout) => stdout.read(&mut byte)?,
        None => 0,
    };
    let first = since(began);
    let ended = child.wait()?;
    let exit = since(began);
    match ended.code() {
        Some(status) if read > 0 => Ok(Times {
            first,
            exit,
            status,
        }),
        _ => Err(io::Error::other(format!("{read} bytes, {ended}"))),
    }
}
