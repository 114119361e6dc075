//! The processor modes that kernels are entered in: segments and control registers.

use kvm_bindings::{kvm_segment, kvm_sregs};

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// A flat 32-bit data segment of all 4 GiB; the selector is the boot protocol's `__BOOT_DS`.
fn flat_data() -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector: 0x18,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    }
}

/// The same for code; the selector is the boot protocol's `__BOOT_CS`.
fn flat_code() -> kvm_segment {
    kvm_segment {
        selector: 0x10,
        type_: 11,
        ..flat_data()
    }
}

fn set_data_segments(sregs: &mut kvm_sregs) {
    let data = flat_data();
    (sregs.ds, sregs.es, sregs.fs) = (data, data, data);
    (sregs.gs, sregs.ss) = (data, data);
}

/// Long mode with these page tables, as Linux's 64-bit boot protocol asks.
pub(super) fn set_long_mode(sregs: &mut kvm_sregs, page_tables: u64) {
    sregs.cr3 = page_tables;
    sregs.cr4 |= CR4_PAE;
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.efer |= EFER_LME | EFER_LMA;
    sregs.cs = kvm_segment {
        db: 0,
        l: 1,
        ..flat_code()
    };
    set_data_segments(sregs);
}

/// Protected mode without paging, as PVH asks: flat 32-bit segments and a task register.
pub(super) fn set_protected_mode(sregs: &mut kvm_sregs) {
    (sregs.cr0, sregs.cr4, sregs.efer) = (CR0_PE | CR0_ET, 0, 0);
    sregs.cs = flat_code();
    set_data_segments(sregs);
    sregs.tr = kvm_segment {
        limit: 0x67,
        type_: 11,
        present: 1,
        ..Default::default()
    };
}
