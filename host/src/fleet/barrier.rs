//! Where ready machines wait for each other, so that the memory of all of them can be counted at once.

use crate::base::lock::lock;
use crate::boot::Base;
use crate::layout;
use crate::memory::GuestMemory;
use crate::memory::guest::Region;
use crate::report::details::kib;
use std::fs::File;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The barrier of all machines that are counted.
pub(super) struct Barrier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    base: Arc<Base>,
    rollup: Option<File>,
    /// Resident KiB before there was a machine.
    before: Option<u64>,
    state: Mutex<State>,
    complete: Condvar,
}

#[derive(Debug)]
struct State {
    /// Machines that are neither here nor gone.
    missing: u32,
    waiting: u32,
    regions: Vec<Region>,
    kib_for_each: Option<f64>,
}

impl Barrier {
    /// For this many machines, before any of them exists.
    pub(super) fn new(machines: u32, base: &Arc<Base>) -> Self {
        let rollup = File::open("/proc/self/smaps_rollup").ok();
        Barrier(Arc::new(Shared {
            base: Arc::clone(base),
            before: rollup.as_ref().and_then(resident),
            rollup,
            state: Mutex::new(State {
                missing: machines,
                waiting: 0,
                regions: Vec::new(),
                kib_for_each: None,
            }),
            complete: Condvar::new(),
        }))
    }

    /// A ticket for each machine; to be called once.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        let count = lock(&self.0.state).missing;
        (0..count).map(|_| Ticket(Arc::clone(&self.0))).collect()
    }

    /// Resident KiB for each machine, once all of them were here.
    pub(super) fn kib_for_each(&self) -> Option<f64> {
        lock(&self.0.state).kib_for_each
    }
}

/// One machine's right to wait at the barrier. Nobody waits any longer for a machine whose ticket is dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Shared>);

impl Ticket {
    /// Waits until all machines that still can be here are.
    pub(super) fn wait(self, memory: &GuestMemory) {
        let shared = Arc::clone(&self.0);
        {
            let mut state = lock(&shared.state);
            state.waiting += 1;
            state.regions.extend(memory.regions());
        }
        drop(self);
        let mut state = lock(&shared.state);
        while state.missing > 0 {
            let waited = shared.complete.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if state.missing == 1 {
            // No thread continues: those that wait here need this lock.
            state.kib_for_each = self.0.count(&mut state);
        }
        state.missing -= 1;
        self.0.complete.notify_all();
    }
}

impl Shared {
    fn count(&self, state: &mut State) -> Option<f64> {
        let regions = mem::take(&mut state.regions);
        let guests = self.base.details.as_ref()?.mapped_pages(regions)? * layout::PAGE / 1024;
        let all = resident(self.rollup.as_ref()?)?;
        let ours = all.saturating_sub(self.before?).saturating_sub(guests);
        (state.waiting > 0).then(|| ours as f64 / f64::from(state.waiting))
    }
}

fn resident(rollup: &File) -> Option<u64> {
    kib(rollup, "Rss:")
}
