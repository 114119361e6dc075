//! Where ready machines stand until all of them do, to be counted.

use crate::boot::Base;
use crate::details::kib;
use crate::layout;
use crate::memory::{GuestMemory, Region};
use std::fs::File;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The place of all machines that are counted.
pub(super) struct Square(Arc<Shared>);

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
    standing: u32,
    regions: Vec<Region>,
    kib_for_each: Option<f64>,
}

impl Square {
    /// For this many machines, and before any of them.
    pub(super) fn new(machines: u32, base: &Arc<Base>) -> Self {
        let rollup = File::open("/proc/self/smaps_rollup").ok();
        Square(Arc::new(Shared {
            base: Arc::clone(base),
            before: rollup.as_ref().and_then(resident),
            rollup,
            state: Mutex::new(State {
                missing: machines,
                standing: 0,
                regions: Vec::new(),
                kib_for_each: None,
            }),
            complete: Condvar::new(),
        }))
    }

    /// A place for each machine; to be asked for once.
    pub(super) fn places(&self) -> Vec<Place> {
        let count = self.0.lock().missing;
        (0..count).map(|_| Place(Arc::clone(&self.0))).collect()
    }

    /// What was counted, once all machines were here.
    pub(super) fn kib_for_each(&self) -> Option<f64> {
        self.0.lock().kib_for_each
    }
}

/// One machine's place. Whoever drops it is not waited for any longer.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

impl Place {
    /// Stands here until everybody does who is still to come.
    pub(crate) fn stand(self, memory: &GuestMemory) {
        let shared = Arc::clone(&self.0);
        {
            let mut state = shared.lock();
            state.standing += 1;
            state.regions.extend(memory.regions());
        }
        drop(self);
        let mut state = shared.lock();
        while state.missing > 0 {
            let waited = shared.complete.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.missing == 1 {
            // Nobody moves: those who stand here wait for this lock.
            state.kib_for_each = self.0.count(&mut state);
        }
        state.missing -= 1;
        self.0.complete.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &mut State) -> Option<f64> {
        let regions = mem::take(&mut state.regions);
        let guests = self.base.details.as_ref()?.mapped_pages(regions)? * layout::PAGE / 1024;
        let all = resident(self.rollup.as_ref()?)?;
        let ours = all.saturating_sub(self.before?).saturating_sub(guests);
        (state.standing > 0).then(|| ours as f64 / f64::from(state.standing))
    }
}

fn resident(rollup: &File) -> Option<u64> {
    kib(rollup, "Rss:")
}
