//! Prints a trace as text.

use std::fmt::Write;

use super::analysis::Analysis;

/// Lines of each list.
const TOP: usize = 20;

/// Renders the table.
pub(crate) fn render(analysis: &Analysis) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(analysis, &mut out);
    out
}

fn write(analysis: &Analysis, out: &mut String) -> std::fmt::Result {
    let unit = unit(&analysis.clock);
    let samples = &analysis.samples;
    let total = samples.total.max(1) as f64;
    writeln!(
        out,
        "{}: {:.2} {unit} from the first instruction to the end, {} run(s)",
        analysis.outcome,
        analysis.total_us / 1e3,
        analysis.runs
    )?;
    for line in &analysis.diagnosis {
        writeln!(out, "  {line}")?;
    }
    if analysis.clock == "emulated" {
        writeln!(
            out,
            "KVM emulates the kernel here, so the times are not real boot times; compare instructions."
        )?;
    }
    writeln!(
        out,
        "{} samples at {} Hz, {:.1} % in named functions; sampling took another {:.2} {unit} ({:.1} %), not counted here",
        samples.total,
        samples.hz,
        100.0 * samples.attributed as f64 / total,
        samples.overhead_us / 1e3,
        100.0 * samples.overhead_us / analysis.total_us.max(1.0),
    )?;
    if samples
        .unwound
        .keys()
        .any(|how| *how == jiffy::trace::raw::How::Scan)
    {
        writeln!(
            out,
            "Callers were found by scanning the stack: this kernel keeps neither frame pointers nor ORC tables."
        )?;
    }
    phases(analysis, unit, out)?;
    if !analysis.initcalls.is_empty() {
        writeln!(out, "\n{:>10}  initcall", unit)?;
        for call in analysis.initcalls.iter().take(TOP) {
            writeln!(out, "{:>10.3}  {}", call.us / 1e3, call.name)?;
        }
    }
    functions(analysis, total, out)?;
    writeln!(out, "\n{:>12}  exit", "count")?;
    for exit in analysis.exits.iter().take(TOP) {
        writeln!(out, "{:>12}  {}", exit.count, exit.reason)?;
    }
    match analysis.pages_touched {
        Some(pages) => writeln!(out, "\n{pages} pages of guest memory touched"),
        None => writeln!(
            out,
            "\nThis kernel does not count the pages that a guest touches."
        ),
    }
}

/// A number of instructions, or a dash if nothing counts them.
fn counted(instructions: u64) -> String {
    match instructions {
        0 => "-".to_owned(),
        count => count.to_string(),
    }
}

/// The name of a clock's milliseconds.
pub(crate) fn unit(clock: &str) -> &'static str {
    match clock {
        "lab" => "lab ms",
        "emulated" => "emul. ms",
        _ => "ms",
    }
}

fn phases(analysis: &Analysis, unit: &str, out: &mut String) -> std::fmt::Result {
    let by = match analysis.phases_by.as_str() {
        "stamps" => "by the kernel's stamps",
        _ => "by samples: this kernel has no BOOT_TRACE",
    };
    writeln!(
        out,
        "\n{unit:>10} {:>6} {:>12} {:>8}  phase ({by})",
        "%", "instructions", "exits"
    )?;
    let share = |us: f64| 100.0 * us / analysis.total_us.max(1e-9);
    let mut shown: Vec<_> = analysis.phases.iter().collect();
    shown.sort_by(|a, b| b.us.total_cmp(&a.us));
    let least = shown.get(TOP).map_or(f64::MIN, |phase| phase.us);
    let mut rest = (0, 0.0, 0, 0);
    for phase in &analysis.phases {
        if phase.us > least {
            writeln!(
                out,
                "{:>10.3} {:>6.1} {:>12} {:>8}  {}",
                phase.us / 1e3,
                share(phase.us),
                counted(phase.instructions),
                phase.exits,
                phase.name
            )?;
        } else {
            rest = (
                rest.0 + 1,
                rest.1 + phase.us,
                rest.2 + phase.instructions,
                rest.3 + phase.exits,
            );
        }
    }
    if rest.0 > 0 {
        writeln!(
            out,
            "{:>10.3} {:>6.1} {:>12} {:>8}  {} shorter ones",
            rest.1 / 1e3,
            share(rest.1),
            counted(rest.2),
            rest.3,
            rest.0
        )?;
    }
    let (us, name) = (
        analysis.unattributed_us,
        "of these unattributed: in code without a name",
    );
    writeln!(
        out,
        "{:>10.3} {:>6.1} {:>12} {:>8}  {name}",
        us / 1e3,
        share(us),
        "",
        ""
    )
}

fn functions(analysis: &Analysis, total: f64, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:>7} {:>7} {:>12}  function",
        "self %", "incl. %", "instructions"
    )?;
    let percent = |samples: u64| 100.0 * samples as f64 / total;
    for function in analysis.functions.iter().take(TOP) {
        writeln!(
            out,
            "{:>7.2} {:>7.2} {:>12}  {}",
            percent(function.own),
            percent(function.inclusive),
            counted(function.instructions),
            function.name
        )?;
    }
    Ok(())
}
