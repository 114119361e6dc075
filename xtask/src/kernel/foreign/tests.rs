//! Kernels' own symbols: tables as each layout has them read back, whole and as ELF symbols; noise is refused.

use object::Object;
use proptest::prelude::*;

use super::elf;
use jiffy::trace::kallsyms::{Symbol, decode};

/// Which tables lie where.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Until 6.1.
    Old,
    /// Then with the order by name between markers and tokens.
    OldSorted,
    /// Since 6.4.
    New,
}

const BASE: u64 = 0xffff_ffff_8100_0000;

/// Symbols as a kernel has them: sorted, with names that tell them apart.
fn symbols(count: u64) -> Vec<Symbol> {
    (0..count)
        .map(|number| Symbol {
            address: BASE + 16 * number,
            name: format!("symbol_{number}"),
        })
        .collect()
}

fn pad(image: &mut Vec<u8>) {
    image.resize(image.len().next_multiple_of(8), 0);
}

/// What scripts/kallsyms writes, with `symbol_` as a token in place of a character that no name has.
fn encode(symbols: &[Symbol], order: Order, per_cpu: bool) -> Vec<u8> {
    const SHORT: u8 = b'~';
    let mut offsets = Vec::new();
    for symbol in symbols {
        let offset = i32::try_from(symbol.address - BASE).unwrap();
        let offset = if per_cpu { -1 - offset } else { offset };
        offsets.extend(offset.to_le_bytes());
    }
    pad(&mut offsets);
    offsets.extend(BASE.to_le_bytes());

    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for (number, symbol) in symbols.iter().enumerate() {
        if number % 256 == 0 {
            markers.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        }
        let text = symbol.name.replace("symbol_", "~");
        names.extend([u8::try_from(text.len()).unwrap() + 1, b'T']);
        names.extend(text.bytes());
    }
    let (mut texts, mut index) = (Vec::new(), Vec::new());
    for token in 0..=u8::MAX {
        index.extend(u16::try_from(texts.len()).unwrap().to_le_bytes());
        match token {
            SHORT => texts.extend(b"symbol_"),
            b'!'.. if token.is_ascii() => texts.push(token),
            _ => {}
        }
        texts.push(0);
    }
    let by_name = vec![7; 3 * symbols.len()];

    let count = (symbols.len() as u64).to_le_bytes().to_vec();
    let head = [count, names, markers];
    let tail = [texts, index];
    let tables: Vec<Vec<u8>> = match order {
        Order::Old => [vec![offsets], head.into(), tail.into()].concat(),
        Order::OldSorted => [vec![offsets], head.into(), vec![by_name], tail.into()].concat(),
        Order::New => [head.into(), tail.into(), vec![offsets, by_name]].concat(),
    };
    let mut image = b"something in front".to_vec();
    for table in tables {
        pad(&mut image);
        image.extend(table);
    }
    image.extend(b"something behind");
    image
}

#[test]
fn every_layout_reads_back() {
    for order in [Order::Old, Order::OldSorted, Order::New] {
        for per_cpu in [false, true] {
            for count in [257, 1000, 2048] {
                let symbols = symbols(count);
                let image = encode(&symbols, order, per_cpu);
                assert_eq!(
                    decode(&image).as_ref(),
                    Some(&symbols),
                    "{order:?} {per_cpu} {count}"
                );
            }
        }
    }
}

#[test]
fn an_elf_file_gets_a_symbol_table() {
    // Our own test program has one already; adding another leaves a file that still reads.
    let file = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(elf::has_symbols(&file), Some(true));
    let named = elf::with_symbols(&file, &symbols(300)).unwrap();
    let read = object::File::parse(&*named).unwrap();
    assert_eq!(named[64..file.len()], file[64..]);
    assert!(read.sections().count() > 2);
    assert!(read.symbols().count() > 300);
    assert_eq!(elf::has_symbols(b"no ELF file"), None);
}

proptest! {
    #[test]
    fn damaged_tables_do_not_panic(
        at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(), new: bool,
    ) {
        let mut image = encode(&symbols(600), if new { Order::New } else { Order::OldSorted }, true);
        let at = at.index(image.len());
        image[at] = byte;
        image.truncate(image.len() - cut.index(image.len()) / 4);
        if let Some(symbols) = decode(&image) {
            prop_assert!(symbols.len() <= 600);
        }
    }

    #[test]
    fn noise_is_no_elf_file(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.extend(noise);
        let _ = elf::with_symbols(&file, &symbols(3));
    }
}
