//! The commands of the repository: what each is called, and where it is.

mod base;
mod command;
mod guest;
mod kernel;
mod machine;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::base::failure;
use crate::base::layout::Layout;
use crate::command::{bench, bindings, boot, build, doctor, patch, prove, test, trace};

/// Boot Linux microVMs fast: build the kernel, PID 1 and runner, boot them, test them.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build kernel, PID 1, initramfs and runner, as far as they are out of date
    Build(build::Command),
    /// Build what is missing and boot it, and run a program in the guest if one is given
    Boot(boot::BootOptions),
    /// Boot and show where the time went
    Trace(trace::TraceOptions),
    /// Measure boots and compare them
    Bench(bench::BenchOptions),
    /// Check whether this machine is set up for fast VMs, and what to change
    Doctor(doctor::DoctorOptions),
    /// Run every test of the project
    Test(test::TestOptions),
    /// Boot a kernel with debugging checks in many ways and look for faults
    Prove(prove::ProveOptions),
    /// Generate Rust declarations from the kernel's headers, or check that they are up to date
    Bindings(bindings::BindingsOptions),
    /// Apply the patch series to a kernel tree of your own
    Patch(patch::PatchOptions),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Layout::find().and_then(|layout| match &cli.command {
        Command::Build(command) => build::run(&layout, command).map(success),
        Command::Boot(options) => boot::run(&layout, options),
        Command::Trace(options) => trace::run(&layout, options),
        Command::Bench(options) => bench::run(&layout, options).map(success),
        Command::Doctor(options) => doctor::run(&layout, options),
        Command::Test(options) => test::run(&layout, options),
        Command::Prove(options) => prove::run(&layout, options),
        Command::Bindings(options) => bindings::run(&layout, options).map(success),
        Command::Patch(options) => patch::run(&layout, options).map(success),
    });
    done.unwrap_or_else(|error| failure::report(&error))
}

fn success((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
