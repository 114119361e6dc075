//! The policy as a table for each vendor: what KVM lists, and what a guest is told.

use super::*;
use proptest::prelude::*;

fn entry(function: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function,
        index,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    }
}

/// What KVM lists of QEMU's EPYC, and of an Intel processor with six cores of two threads. Both have virtualization, a
/// PMU, and what else the policy is about.
fn listed() -> [CpuId; 2] {
    let amd = [
        entry(0, 0, [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
        entry(1, 0, [0x0080_0f12, 0x0800, 0xf6f8_3203, 0x078b_fbfd]),
        entry(0xb, 0, [0; 4]),
        entry(0xd, 0, [7, 832, 832, 0]),
        entry(0xd, 2, [256, 576, 0, 0]),
        entry(0x8000_0001, 0, [0x0080_0f12, 0, 0x1180_0077, 0x2dd3_fbfd]),
        entry(0x8000_0008, 0, [0x0028_3028, 0x0200_0000, 0, 0]),
        entry(0x8000_000a, 0, [1, 8, 0, 0x49]),
        entry(0x8000_001d, 2, [0x43, 0x01c0_003f, 0x3ff, 0]),
        entry(0x8000_001d, 3, [0x163 | 7 << 14, 0x03c0_003f, 0x1fff, 6]),
        entry(0x8000_001e, 0, [0; 4]),
        entry(0x8000_0022, 0, [1, 6, 0, 0]),
    ];
    let intel = [
        entry(0, 0, [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
        entry(1, 0, [0x0009_06ea, 0x0510_0800, 0x76fa_b223, 0x1f8b_fbff]),
        entry(4, 3, [0x1c03_c163, 0x02c0_003f, 0x2fff, 6]),
        entry(0xa, 0, [0x0730_0402, 0, 0, 0x603]),
        entry(0xb, 0, [1, 2, 0x100, 5]),
        entry(0xb, 1, [4, 12, 0x201, 5]),
        entry(0xb, 2, [0, 0, 2, 5]),
        entry(0xd, 0, [7, 832, 832, 0]),
        entry(0xd, 2, [256, 576, 0, 0]),
        entry(0x1f, 0, [1, 2, 0x100, 5]),
        entry(0x8000_0001, 0, [0, 0, 0x121, 0x2c10_0800]),
    ];
    [&amd[..], &intel].map(|entries| CpuId::from_entries(entries).unwrap())
}

fn leaf(cpuid: &CpuId, function: u32, index: u32) -> Option<kvm_cpuid_entry2> {
    let mut entries = cpuid.as_slice().iter();
    let is_it = |entry: &&kvm_cpuid_entry2| (entry.function, entry.index) == (function, index);
    entries.find(is_it).copied()
}

fn registers(cpuid: &CpuId, function: u32, index: u32) -> [u32; 4] {
    leaf(cpuid, function, index).map_or([0; 4], |it| [it.eax, it.ebx, it.ecx, it.edx])
}

fn selected(mut cpuid: CpuId, words: &str) -> CpuId {
    let wanted = if words.is_empty() {
        CpuFeatures::default()
    } else {
        words.parse().unwrap()
    };
    features::select(&mut cpuid, wanted);
    cpuid
}

#[test]
fn vendors_are_known_by_name() {
    let found = listed().map(|cpuid| Vendor::of(cpuid.as_slice()));
    assert_eq!(found, [Vendor::Amd, Vendor::Intel]);
    assert_eq!(Vendor::by_name(u32::from_le_bytes(*b"nGen")), Vendor::Amd);
    assert_eq!(Vendor::by_name(0), Vendor::Other);
}

#[test]
fn virtualization_and_pmu_are_there_on_request() {
    // The register that tells of it; what is left of it without a request, with `nested`, with `pmu`.
    let [amd, intel] = listed();
    for (cpuid, function, register, told) in [
        (&amd, 1, 2, [0xf7f8_3203_u32; 3]),
        (&amd, 0x8000_0001, 2, [0x73, 0x77, 0x1180_0073]),
        (&amd, 0x8000_000a, 1, [0, 8, 0]),
        (&amd, 0x8000_0022, 1, [0, 0, 6]),
        (&intel, 1, 2, [0xf7fa_3203, 0xf7fa_3223, 0xf7fa_b203]),
        (&intel, 0xa, 0, [0, 0, 0x0730_0402]),
        (&intel, 0x8000_0001, 2, [0x121; 3]),
    ] {
        let found = ["", "nested", "pmu"]
            .map(|words| registers(&selected(cpuid.clone(), words), function, 0)[register]);
        assert_eq!(found, told, "{function:#x}");
    }
    assert!("".parse::<CpuFeatures>().is_err());
    assert!("nested,vmx".parse::<CpuFeatures>().is_err());
    let both = "pmu,nested".parse::<CpuFeatures>().unwrap();
    assert!(both.pmu && both.nested);
}

/// An Intel processor with AMX, of whose states KVM lists these; and AVX-512, whose last state ends at 2688.
fn with_amx(states: u32) -> CpuId {
    let mut cpuid = listed()[1].clone();
    cpuid.retain(|entry| entry.function != 0xd);
    for entry in [
        entry(7, 0, [2, 0, 0, 0xbfc0_4410 | 1 << 24]),
        entry(7, 1, [0x0020_1c30, 0, 0, 1 << 8 | 1 << 14]),
        entry(0xd, 0, [0xe7 | states, 832, 11008, 0]),
        entry(0xd, 2, [256, 576, 0, 0]),
        entry(0xd, 7, [1024, 1664, 0, 0]),
        entry(0xd, 11, [16, 0, 1, 0]),
        entry(0xd, 17, [64, 2752, 2, 0]),
        entry(0xd, 18, [8192, 2816, 6, 0]),
        entry(0x1d, 1, [0x0400_2000, 0x0008_0040, 16, 0]),
        entry(0x1e, 0, [0, 0x4010, 0, 0]),
    ] {
        cpuid.push(entry).unwrap();
    }
    cpuid
}

#[test]
fn amx_is_there_as_a_whole_or_not_at_all() {
    const CFG: u32 = 1 << 17;
    const DATA: u32 = 1 << 18;
    for states in [0, CFG, DATA] {
        let cpuid = selected(with_amx(states), "");
        assert_eq!(xsave_states(&cpuid), 0xe7, "{states:#x}");
        assert_eq!(registers(&cpuid, 7, 0)[3] & 0x0340_0000, 0);
        let more = registers(&cpuid, 7, 1);
        assert_eq!((more[0], more[3]), (0x1c30, 1 << 14));
        for (function, index) in [(0xd, 17), (0xd, 18), (0x1d, 1), (0x1e, 0)] {
            assert!(leaf(&cpuid, function, index).is_none());
        }
        if states != 0 {
            assert_eq!(registers(&cpuid, 0xd, 0)[2], 2688, "the area's size");
        }
    }
    let whole = with_amx(CFG | DATA);
    let cpuid = selected(whole.clone(), "");
    assert_eq!(xsave_states(&cpuid), u64::from(0xe7 | CFG | DATA));
    for (function, index) in [(7, 0), (7, 1), (0xd, 0), (0xd, 18), (0x1d, 1)] {
        let both = [&cpuid, &whole].map(|cpuid| registers(cpuid, function, index));
        assert_eq!(both[0], both[1]);
    }
}

proptest! {
    /// Whatever KVM lists, a second pass finds nothing to do, and XCR0 never has one of AMX's states alone.
    #[test]
    fn any_list_becomes_a_consistent_one(
        entries in prop::collection::vec(
            (prop::sample::select(vec![0, 1, 7, 0xa, 0xd, 0x1d, 0x8000_0001_u32]), 0..19_u32, any::<[u32; 4]>()), 0..40
        ),
        nested: bool,
        pmu: bool,
    ) {
        let entries: Vec<_> = entries.into_iter().map(|(f, i, regs)| entry(f, i, regs)).collect();
        let mut cpuid = CpuId::from_entries(&entries).unwrap();
        let wanted = CpuFeatures { nested, pmu };
        features::select(&mut cpuid, wanted);
        let once = cpuid.clone();
        features::select(&mut cpuid, wanted);
        prop_assert_eq!(once.as_slice(), cpuid.as_slice());
        topology::set(&mut cpuid, 0, 1).unwrap();
    }
}

#[test]
fn one_processor_alone_shares_nothing() {
    for mut cpuid in listed() {
        topology::set(&mut cpuid, 0, 1).unwrap();
        let first = registers(&cpuid, 1, 0);
        assert_eq!((first[1] >> 16, first[3] >> 28 & 1), (1, 0));
        for (function, index) in [(0xb, 0), (0xb, 1), (0x1f, 0)] {
            assert_eq!(registers(&cpuid, function, index), [0; 4]);
        }
        assert_eq!(registers(&cpuid, 0x8000_0001, 0)[2] & 2, 0);
        for (function, index) in [(4, 3), (0x8000_001d, 2), (0x8000_001d, 3)] {
            assert_eq!(registers(&cpuid, function, index)[0] >> 14, 0);
        }
    }
}

#[test]
fn processors_are_cores_of_one_package() {
    for (mut cpuid, amd) in listed().into_iter().zip([true, false]) {
        for (cpus, bits) in [(2, 1), (3, 2), (4, 2), (32, 5)] {
            for id in 0..cpus {
                topology::set(&mut cpuid, id, cpus).unwrap();
                let level = |index| leaf(&cpuid, 0xb, index).unwrap();
                let told = [level(0), level(1)].map(|one| (one.eax, one.ebx, one.ecx, one.edx));
                assert_eq!(told, [(0, 1, 0x100, id), (bits, cpus, 0x201, id)]);
                assert_eq!(id >> bits, 0, "the package's number");
                for function in [0x1f, 0x8000_0026] {
                    assert!(leaf(&cpuid, function, 0).is_none());
                }
                assert!(leaf(&cpuid, 0xb, 2).is_none());
                let first = leaf(&cpuid, 1, 0).unwrap();
                assert_eq!((first.ebx >> 16 & 0xff, first.ebx >> 24), (cpus, id));
                let more = leaf(&cpuid, 0x8000_0001, 0).unwrap();
                assert_eq!(more.ecx & 2 != 0, amd);
            }
        }
        let others = |function, index| {
            let cache = leaf(&cpuid, function, index)?;
            Some((cache.eax >> 14 & 0xfff, cache.eax >> 26))
        };
        if amd {
            assert_eq!(others(0x8000_001d, 2), Some((0, 0)));
            assert_eq!(others(0x8000_001d, 3), Some((31, 0)));
            let sizes = leaf(&cpuid, 0x8000_0008, 0).unwrap();
            assert_eq!(sizes.ecx, 5 << 12 | 31);
            assert_eq!(leaf(&cpuid, 0x8000_001e, 0).unwrap().eax, 31);
        } else {
            assert_eq!(others(4, 3), Some((31, 31)));
        }
    }
}
