//! One boot, from an open /dev/kvm to a report.

use crate::clock::Clock;
use crate::details::Details;
use crate::devices::Spec;
use crate::error::{Error, Result};
use crate::initramfs::{Archive, Initramfs};
use crate::kernel::{Entry, Kernel, Protocol};
use crate::memory::{GuestMemory, Pages};
use crate::ports::{Output, Ports};
use crate::report::{Kind, KvmInfo, Microseconds, Report};
use crate::run::{self, Run, Watch};
use crate::stdin::Stdin;
use crate::trace::{Collector, raw::Trace};
use crate::vm::{self, Irqchip, Vm};
use crate::{boot_params, command_line, diagnose, mptable, probe, pvh, report};
use kvm_ioctls::Kvm;
use rustix::fd::OwnedFd;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What to boot, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// A vmlinux.
    pub kernel: PathBuf,
    /// How to enter it.
    pub entry: Protocol,
    /// Archives, one behind the other.
    pub initramfs: Vec<Archive>,
    /// Added to the command line that jiffy gives.
    pub command_line: String,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// vCPUs.
    pub cpus: u8,
    /// What backs it.
    pub pages: Pages,
    /// Interrupt hardware.
    pub irqchip: Irqchip,
    /// Its devices.
    pub devices: Vec<Spec>,
    /// The longest that the guest may run.
    pub timeout: Duration,
    /// One byte 0x01 is written here at ready.
    pub ready_fd: Option<Arc<OwnedFd>>,
    /// Whether to collect counters and the kernel's sum for the report.
    pub detailed: bool,
    /// A directory to lock the process up in before the guest runs.
    pub jail: Option<PathBuf>,
    /// Whether the thread is confined by a filter of its system calls before the guest runs; it stays so.
    pub seccomp: bool,
    /// The program that PID 1 runs, for what is said of it.
    pub program: Option<PathBuf>,
    /// The profile's name, for the report.
    pub profile: String,
    /// Samples in a second, for a trace.
    pub trace: Option<u32>,
}

/// What machines can share: KVM, the files that they start from, and where the details of a boot are read.
#[derive(Debug)]
pub(crate) struct Base {
    kvm: Kvm,
    kernel: Kernel,
    entry: Entry,
    initramfs: Initramfs,
    pub(crate) details: Option<Details>,
}

impl Base {
    /// Opens it all, with these details; takes the archives out of the configuration.
    ///
    /// # Errors
    /// No KVM, or files that cannot be read.
    pub(crate) fn open(config: &mut Config, details: Option<Details>) -> Result<Self> {
        let kvm = vm::open_kvm()?;
        if config.cpus > 1 && probe::kind() == Kind::Software {
            return Err(Error::EmulatedCpus(config.cpus));
        }
        let kernel = Kernel::open(&config.kernel)?;
        Ok(Base {
            kvm,
            entry: kernel.entry(config.entry)?,
            kernel,
            initramfs: Initramfs::open(mem::take(&mut config.initramfs))?,
            details,
        })
    }

    /// The same with the files in memory, for many machines.
    ///
    /// # Errors
    /// A file that cannot be read, or no memory.
    pub(crate) fn in_memory(self) -> Result<Self> {
        Ok(Base {
            kernel: self.kernel.in_memory()?,
            initramfs: self.initramfs.in_memory()?,
            ..self
        })
    }
}

/// Boots, and runs the guest to its end; gives the report, and the trace if one was asked for.
///
/// # Errors
/// What kept the guest from running. A guest that ends badly is a report, not an error.
pub fn boot(
    mut config: Config,
    output: Output,
    stdin: Stdin,
    mut clock: Clock,
) -> Result<(Report, Option<Trace>)> {
    // What the boot did not need is left out of its time.
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
    let watch = Watch {
        trace,
        ..Watch::default()
    };
    boot_on(&base, config, (output, stdin), watch, clock)
}

/// Boots a machine on what is open already.
pub(crate) fn boot_on(
    base: &Base,
    mut config: Config,
    (output, stdin): (Output, Stdin),
    watch: Watch,
    clock: Clock,
) -> Result<(Report, Option<Trace>)> {
    let Base { kvm, kernel, .. } = base;
    let memory = GuestMemory::new(config.memory_mib, config.pages)?;
    let mut vm = Vm::new(kvm, memory, config.irqchip, config.cpus)?;
    vm.add_devices(&config.devices)?;
    let created = clock.elapsed();

    let kernel_end = kernel.place(&mut vm.memory)?;
    let initramfs = base.initramfs.place(&mut vm.memory, kernel_end)?;
    let command_line = command_line::of(&vm, &config.command_line);
    match base.entry {
        Entry::Linux64(_) => boot_params::write(&vm.memory, &command_line, &initramfs)?,
        Entry::Pvh(_) => pvh::write(&vm.memory, &command_line, &initramfs)?,
    }
    mptable::write(&vm.memory, config.cpus, vm.devices.interrupts())?;
    let loaded = clock.elapsed();

    vm.set_entry(kvm, base.entry)?;
    let ports = Arc::new(Mutex::new(Ports::new(output, stdin)));
    let watch = Watch {
        ready_fd: config.ready_fd.take(),
        count: config.detailed,
        confine: config.seccomp,
        jail: config.jail.take(),
        ..watch
    };
    let entry = clock.elapsed();
    let mut run = run::run(&mut vm, &ports, watch, clock, config.timeout)?;
    let trace = run.trace.take().map(|trace| trace.finish(&vm));

    let verdict = {
        let ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        diagnose::verdict(&run, &ports, &vm, &config, kernel)
    };
    let mut report = Report {
        schema: 1,
        outcome: verdict.outcome,
        exit_code: verdict.exit_code,
        diagnosis: [verdict.lines, vm.devices.faults()].concat(),
        kvm: KvmInfo {
            kind: probe::kind(),
            api: kvm.get_api_version(),
        },
        memory_mib: config.memory_mib,
        cpus: config.cpus.into(),
        pages: vm.memory.pages().name().to_owned(),
        warnings: vm.memory.warning().map(str::to_owned).into_iter().collect(),
        us: microseconds([created, loaded, entry], &run, clock),
        assists: report::owned(&run.assists),
        ..Report::default()
    };
    if let Some(details) = &base.details {
        details.add(&mut report, &run, &vm, kernel, &config.profile);
    }
    let trace = trace.map(|trace| Trace {
        report: report.clone(),
        ..trace
    });
    Ok((report, trace))
}

fn microseconds([created, loaded, entry]: [f64; 3], run: &Run, clock: Clock) -> Microseconds {
    let ready = run.ready.unwrap_or(run.ended);
    let started = run.started.unwrap_or(run.ended);
    let total = clock.elapsed();
    Microseconds {
        vm: created,
        load: loaded - created,
        vcpu: entry - loaded,
        kernel: ready - entry,
        init: started - ready,
        payload: run.ended - started,
        teardown: total - run.ended,
        to_entry: entry,
        to_ready: ready,
        total,
    }
}
