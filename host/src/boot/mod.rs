//! One boot, from an open /dev/kvm to a report: prepare the machine, confine the runner, run the guest, report.

mod base;
mod config;

use crate::base::lock::lock;
use crate::confine::jail;
use crate::confine::seccomp::{self, Filter};
use crate::error::Result;
use crate::explain::diagnose::Evidence;
use crate::load::entry::Entry;
use crate::load::{acpi, boot_params, command_line, mptable, pvh, seed};
use crate::machine::exit::Exits;
use crate::machine::ports::Ports;
use crate::machine::run::{Finished, Observers, Run};
use crate::machine::team::Team;
use crate::machine::vcpu;
use crate::machine::vm::Vm;
use crate::memory::GuestMemory;
use crate::report::details::Details;
use crate::report::{Clock, KvmInfo, Microseconds, Report, probe};
use crate::trace::collector::Collector;
use crate::trace::raw::Trace;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(crate) use base::Base;
pub use config::Config;

pub use crate::base::descriptor::Descriptor;
pub use crate::devices::irqchip::Irqchip;
pub use crate::load::acpi::Acpi;
pub use crate::load::entry::Protocol;
pub use crate::load::initramfs::Archive;
pub use crate::machine::cpuid::CpuFeatures;
pub use crate::machine::output::Output;
pub use crate::machine::stdin::Stdin;
pub use crate::memory::{MemorySize, Pages};

/// Boots, and runs the guest to its end; returns the report, and the trace if one was asked for.
///
/// `clock` tells what the report counts from, such as [`Clock::since_process_start`].
///
/// # Errors
/// What kept the guest from running. A guest that ends badly is a report, not an error.
pub fn boot(
    mut config: Config,
    output: Output,
    stdin: Stdin,
    mut clock: Clock,
) -> Result<(Report, Option<Trace>)> {
    // What the boot does not need does not count as its time.
    let mark = clock.elapsed();
    let trace = match config.trace {
        Some(hz) => Some(Collector::new(&config.kernel, hz, clock)?),
        None => None,
    };
    let details = config.detailed.then(Details::prepare);
    if details.is_some() {
        clock = clock.without(mark);
    }
    let base = Base::open(&mut config, details)?;
    let observers = Observers {
        ready_fd: config.ready_fd.take(),
        count: config.detailed,
        trace,
        at_ready: None,
    };
    boot_on(&base, &config, (output, stdin), observers, clock)
}

/// Boots a machine on what is open already.
pub(crate) fn boot_on(
    base: &Base,
    config: &Config,
    (output, stdin): (Output, Stdin),
    observers: Observers,
    clock: Clock,
) -> Result<(Report, Option<Trace>)> {
    let (mut vm, marks) = prepare(base, config, clock)?;
    let exits = Exits {
        output: Arc::new(output),
        ports: Arc::new(Mutex::new(Ports::new(stdin))),
        devices: Arc::clone(&vm.devices),
    };
    let run = Run::prepare(&mut vm.vcpu, observers, clock, config.timeout)?;
    let team = confine(&mut vm, &exits, config.jail.as_deref(), config.seccomp)?;
    let mut finished = run.until_end(&mut vm, &exits, team)?;
    let trace = finished.trace.take();
    let trace = trace.map(|trace| trace.finish(&vm.vcpu, &vm.memory));
    let us = || microseconds(marks, &finished, clock);
    let report = report(base, config, &vm, &exits, &finished, us);
    let trace = trace.map(|trace| Trace {
        report: report.clone(),
        ..trace
    });
    Ok((report, trace))
}

/// Microseconds at which the machine had been created and loaded.
#[derive(Clone, Copy, Debug)]
struct Marks {
    created: f64,
    loaded: f64,
}

/// Makes a machine whose first vCPU is at the kernel's entry point.
fn prepare(base: &Base, config: &Config, clock: Clock) -> Result<(Vm, Marks)> {
    let Base { kvm, kernel, .. } = base;
    let memory = GuestMemory::new(config.memory.mib(), config.pages)?;
    let mut vm = Vm::new(kvm, memory, config.irqchip, config.cpus)?;
    vm.add_devices(&config.devices)?;
    let created = clock.elapsed();

    let kernel_end = kernel.place(&mut vm.memory)?;
    let initramfs = base.initramfs.place(&mut vm.memory, kernel_end)?;
    let devices = vm.devices.command_line(base.acpi);
    let own = (devices.as_str(), config.command_line.as_str());
    let command_line = command_line::of(&vm.memory, vm.tsc_khz(), base.acpi, own);
    match base.entry {
        Entry::Linux64(_) => {
            boot_params::write(&vm.memory, &command_line, &initramfs)?;
            if let Some(seed) = seed::needed()? {
                boot_params::write_seed(&vm.memory, &seed)?;
            }
        }
        Entry::Pvh(_) => pvh::write(&vm.memory, &command_line, &initramfs)?,
    }
    mptable::write(&vm.memory, config.cpus, vm.devices.interrupts())?;
    if base.acpi {
        write_acpi(base, config, &vm)?;
    }
    let loaded = clock.elapsed();

    vcpu::set_up(&vm, kvm, base.entry, config.cpu)?;
    Ok((vm, Marks { created, loaded }))
}

/// Writes the ACPI tables, and tells the kernel of them in the way in which it is entered.
fn write_acpi(base: &Base, config: &Config, vm: &Vm) -> Result<()> {
    let interrupts = vm.devices.interrupts();
    let machine = acpi::Machine {
        cpus: config.cpus,
        ioapic: config.irqchip == Irqchip::Pc || interrupts.is_some(),
        interrupts,
    };
    acpi::write(&vm.memory, &machine)?;
    match base.entry {
        Entry::Linux64(_) => boot_params::write_acpi(&vm.memory),
        Entry::Pvh(_) => pvh::write_acpi(&vm.memory),
    }
}

/// Drops what the run does not need, and starts the threads of devices and of the other vCPUs: after the jail, because a
/// thread from before would stay outside, and before the filter, which allows no new ones.
fn confine(vm: &mut Vm, exits: &Exits, jail: Option<&Path>, seccomp: bool) -> Result<Option<Team>> {
    if let Some(dir) = jail {
        jail::enter(dir)?;
    }
    vm.devices.start(seccomp)?;
    let team = match mem::take(&mut vm.others) {
        others if others.is_empty() => None,
        others => Some(Team::start(others, exits, seccomp)?),
    };
    if seccomp {
        seccomp::confine(Filter::Vcpu)?;
    }
    Ok(team)
}

/// Tells how the run went; `us` is asked when everything but the details is known.
fn report(
    base: &Base,
    config: &Config,
    vm: &Vm,
    exits: &Exits,
    finished: &Finished,
    us: impl FnOnce() -> Microseconds,
) -> Report {
    let Finished { times, .. } = finished;
    let evidence = Evidence {
        ending: &finished.ending,
        ready: times.ready.is_some(),
        started: times.started.is_some(),
        verdict: lock(&exits.ports).verdict(),
        timeout: config.timeout,
        root: config.root,
        program: config.program.as_deref(),
        vcpu: &vm.vcpu,
        memory: &vm.memory,
        kernel: &base.kernel,
    };
    let diagnosis = evidence.judge();
    let assists = finished.assists.iter();
    let mut report = Report {
        schema: 1,
        outcome: diagnosis.outcome,
        exit_code: diagnosis.exit_code,
        ended_by: diagnosis.ended_by,
        out_of_memory: diagnosis.out_of_memory,
        diagnosis: [diagnosis.lines, vm.devices.faults()].concat(),
        kvm: KvmInfo {
            kind: probe::kind(),
            api: base.kvm.get_api_version(),
        },
        memory_mib: config.memory.mib(),
        cpus: config.cpus.into(),
        pages: vm.memory.pages().name().to_owned(),
        warnings: vm.memory.warning().map(str::to_owned).into_iter().collect(),
        us: us(),
        assists: assists
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
        ..Report::default()
    };
    if let Some(details) = &base.details {
        let (memory, kernel) = (&vm.memory, &base.kernel);
        details.add(
            &mut report,
            &finished.stats,
            memory,
            kernel,
            &config.profile,
        );
    }
    report
}

fn microseconds(marks: Marks, finished: &Finished, clock: Clock) -> Microseconds {
    let Finished { times, .. } = finished;
    let ready = times.ready.unwrap_or(times.ended);
    let started = times.started.unwrap_or(times.ended);
    let total = clock.elapsed();
    Microseconds {
        vm: marks.created,
        load: marks.loaded - marks.created,
        vcpu: times.entry - marks.loaded,
        kernel: ready - times.entry,
        init: started - ready,
        payload: times.ended - started,
        teardown: total - times.ended,
        to_entry: times.entry,
        to_ready: ready,
        total,
    }
}
