//! Times commands: from before the fork to the first byte on their standard output, and to their exit.
//!
//! `jiffy-stopwatch RUNS COMMAND [ARG...] [-- COMMAND [ARG...]]...` runs each RUNS times, in turns, so that what changes
//! on the machine changes for all. It prints a line of JSON for each run, with the exit status, which it does not judge: null
//! for a time or a status that there was none of. A COMMAND behind `--end` is ended at its first byte.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// One run, in microseconds, and its exit status.
struct Times {
    first: Option<f64>,
    exit: f64,
    status: Option<i32>,
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
            let times = time(command).map_err(|why| format!("{}: {why}", command.join(" ")))?;
            let exit = times.exit;
            let (first, status) = (or_null(times.first), or_null(times.status));
            writeln!(
                io::stdout(),
                r#"{{"command":{number},"first_us":{first},"exit_us":{exit},"status":{status}}}"#
            )
            .map_err(|why| why.to_string())?;
        }
    }
    Ok(())
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn time(command: &[String]) -> io::Result<Times> {
    let since = |began: Instant| began.elapsed().as_secs_f64() * 1e6;
    let (end, command) = match command {
        [word, command @ ..] if word == "--end" => (true, command),
        command => (false, command),
    };
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::other("nothing to end"));
    };
    let mut process = Command::new(program);
    process
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = process.spawn()?;
    let mut byte = [0];
    let read = match &mut child.stdout {
        Some(stdout) => stdout.read(&mut byte)?,
        None => 0,
    };
    let first = (read > 0).then(|| since(began));
    if end && first.is_some() {
        child.kill()?;
    }
    let ended = child.wait()?;
    Ok(Times {
        first,
        exit: since(began),
        status: ended.code(),
    })
}
