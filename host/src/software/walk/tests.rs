//! Walks against a model that sums up the rules of the manual by other means: from the flags of the whole path at once.

use super::*;
use crate::memory::Pages;
use crate::software::exception::Stop;
use proptest::prelude::*;

/// Where the tables are, the uppermost first, and the page that the last one leads to.
const TABLES: [u64; 4] = [0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000];
const PAGE: u64 = 0x20_0000;

/// The first byte of a page whose index is another one in each table.
const START: u64 = 3 << 39 | 5 << 30 | 7 << 21 | 11 << 12;

#[derive(Clone, Debug)]
struct Case {
    /// Flags in the entries, the uppermost first.
    flags: [u64; 4],
    mode: Mode,
    access: Access,
    offset: u64,
}

fn flags() -> impl Strategy<Value = u64> {
    // Most entries are present and permit everything, so that not all walks end early.
    let bit =
        |flag, often| prop::bool::weighted(often).prop_map(move |set| if set { flag } else { 0 });
    (
        bit(PRESENT, 0.95),
        bit(WRITABLE, 0.8),
        bit(USER, 0.8),
        bit(LARGE, 0.1),
        bit(NO_EXECUTE, 0.1),
        bit(ACCESSED, 0.5),
        bit(DIRTY, 0.5),
        bit(1 << 45, 0.03),
        0..4_u64,
    )
        .prop_map(|(a, b, c, d, e, f, g, h, key)| a | b | c | d | e | f | g | h | key << 59)
}

fn cases() -> impl Strategy<Value = Case> {
    let flags = [flags(), flags(), flags(), flags()];
    let bits = prop::array::uniform4(any::<bool>());
    (
        flags,
        bits,
        any::<bool>(),
        prop::option::of(any::<u32>()),
        0..4096_u64,
    )
        .prop_map(
            |(flags, [user, write_protect, smap, no_execute], write, keys, offset)| Case {
                flags,
                mode: Mode {
                    cr3: TABLES[0] | 0x18,
                    levels: 4,
                    user,
                    write_protect,
                    smap: smap && !user,
                    no_execute,
                    keys,
                    width: 40,
                },
                access: if write { Access::Write } else { Access::Read },
                offset,
            },
        )
}

impl Case {
    /// The path's entries and their places; a large page ends it, and is at `PAGE` too.
    fn path(&self) -> Vec<(u64, u64)> {
        let mut path = Vec::new();
        for (index, flags) in self.flags.into_iter().enumerate() {
            let shift = 39 - 9 * index;
            let at = TABLES[index] + (START >> shift & 0x1ff) * 8;
            let ends = index == 3 || (index > 0 && flags & LARGE != 0);
            let next = if ends && index == 1 {
                0
            } else if ends {
                PAGE
            } else {
                TABLES[index + 1]
            };
            path.push((at, flags | next));
            if ends {
                break;
            }
        }
        path
    }

    /// The error code, or none for an access that is permitted.
    fn model(&self) -> Option<u32> {
        let Case { mode, access, .. } = self;
        let write = *access == Access::Write;
        let base = u32::from(write) << 1 | u32::from(mode.user) << 2;
        let path: Vec<u64> = self.path().into_iter().map(|(_, entry)| entry).collect();
        for (index, entry) in path.iter().enumerate() {
            if entry & 1 == 0 {
                return Some(base);
            }
            let too_wide = entry >> mode.width & ((1 << (52 - mode.width)) - 1) != 0;
            let no_execute = entry >> 63 == 1 && !mode.no_execute;
            if too_wide || no_execute || (index == 0 && entry >> 7 & 1 == 1) {
                return Some(base | 9);
            }
        }
        let all = path.iter().fold(u64::MAX, |all, entry| all & entry);
        let (user_page, writable) = (all & 4 != 0, all & 2 != 0);
        let key = path.last().unwrap() >> 59 & 0xf;
        let rights = mode.keys.map_or(0, |keys| (keys >> (2 * key)) & 3);
        let key_denies = match (user_page, rights, write) {
            (false, ..) | (true, 0, _) | (true, 2, false) => false,
            (true, 2, true) => mode.user || mode.write_protect,
            (true, ..) => true,
        };
        // Rows: who; the page's owner, whether it is writable; what is permitted.
        let (read_ok, write_ok) = match (mode.user, user_page, writable) {
            (true, false, _) => (false, false),
            (true, true, writable) => (true, writable),
            (false, true, _) if mode.smap => (false, false),
            (false, _, writable) => (true, writable || !mode.write_protect),
        };
        let permitted = if write { write_ok } else { read_ok };
        (!permitted || key_denies).then_some(base | 1 | u32::from(key_denies) << 5)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn walks_are_those_of_the_model(case in cases()) {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        for (at, entry) in case.path() {
            memory.write(at, &entry.to_le_bytes()).unwrap();
        }
        let address = START + case.offset;
        let found = case.mode.translate(&memory, address, case.access);
        let after = |at| memory.read_u64(at).unwrap();
        match (case.model(), found) {
            (Some(code), Err(Stop::Raised(raised))) => {
                prop_assert_eq!(raised, Exception::PageFault { address, code });
                for (at, entry) in case.path() {
                    prop_assert_eq!(after(at), entry, "a fault changes nothing");
                }
            }
            (None, Ok((gpa, left))) => {
                let path = case.path();
                let shift = 39 - 9 * (path.len() - 1);
                let page = path.last().unwrap().1 & ADDRESS;
                let inside = address & ((1 << shift) - 1);
                prop_assert_eq!((gpa, left as u64), (page + inside, (1 << shift) - inside));
                for (index, (at, entry)) in path.iter().enumerate() {
                    let last = index + 1 == path.len();
                    let dirty = last && case.access == Access::Write;
                    let more = ACCESSED | if dirty { DIRTY } else { 0 };
                    prop_assert_eq!(after(*at), entry | more);
                }
            }
            (model, found) => prop_assert!(false, "{model:?} is not {found:?}"),
        }
    }
}

/// Two pages side by side, a supervisor's mode, and what it asks for.
fn two_pages(second: u64) -> (GuestMemory, Mode) {
    let memory = GuestMemory::new(8, Pages::Small).unwrap();
    let set = |at: u64, entry: u64| memory.write(at, &entry.to_le_bytes()).unwrap();
    for index in 0..3 {
        let at = TABLES[index] + (START >> (39 - 9 * index) & 0x1ff) * 8;
        set(at, TABLES[index + 1] | 7);
    }
    set(TABLES[3] + 11 * 8, PAGE | 7);
    set(TABLES[3] + 12 * 8, second);
    let sregs = kvm_sregs {
        cr0: 1 << 16,
        cr3: TABLES[0],
        ..kvm_sregs::default()
    };
    (memory, Mode::of(&sregs, 0, None))
}

#[test]
fn each_page_of_an_access_is_checked() {
    let address = START + 0xff0;
    for (second, code) in [(0, Some(2)), (0x30_0005, Some(3)), (0x30_0007, None)] {
        let (memory, mode) = two_pages(second);
        let places = mode.places(&memory, (address, false), 0x20, Access::Write);
        match (code, places) {
            (Some(code), Err(Stop::Raised(raised))) => {
                let address = START + 0x1000;
                assert_eq!(raised, Exception::PageFault { address, code });
            }
            (None, Ok(places)) => {
                let parts = [(PAGE + 0xff0, 0..0x10), (0x30_0000, 0x10..0x20)];
                assert_eq!(places, parts.map(|(gpa, part)| Place { gpa, part }));
            }
            (code, places) => panic!("{code:?} is not {places:?}"),
        }
    }
}

#[test]
fn what_is_no_ram_and_no_address_is_told_apart() {
    let (memory, mode) = two_pages(0xf000_0007);
    let places = |area, len| mode.places(&memory, area, len, Access::Read);
    let outside = places((START + 0x1000, false), 8);
    assert!(matches!(outside, Err(Stop::Outside)), "{outside:?}");
    let hostile = Mode {
        cr3: u64::MAX,
        ..mode
    };
    let outside = hostile.places(&memory, (0, false), 1, Access::Read);
    assert!(matches!(outside, Err(Stop::Outside)), "{outside:?}");
    for (stack, raised) in [
        (false, Exception::GeneralProtection),
        (true, Exception::Stack),
    ] {
        let found = places((1 << 47, stack), 1);
        assert!(
            matches!(found, Err(Stop::Raised(it)) if it == raised),
            "{found:?}"
        );
    }
    assert!(matches!(
        places((u64::MAX, false), 1),
        Err(Stop::Raised(Exception::PageFault { .. }))
    ));
}
