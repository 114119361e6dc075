//! Finds and decodes the symbols in a kernel image that has `CONFIG_KALLSYMS`.
//!
//! Source of the layout: scripts/kallsyms.c and kernel/kallsyms.c of Linux 4.20 to 6.12. Names are lists of tokens,
//! of which there are 256; the tables lie behind one another, each aligned to 8 bytes, in one of two orders:
//!
//! - until 6.3: offsets, base, count, names, markers, (from 6.2 and late 6.1 on) order by name, tokens, token index;
//! - since 6.4: count, names, markers, tokens, token index, offsets, base, order by name.
//!
//! The image is untrusted. Every step is bounded, and tables that contradict each other are rejected.

use crate::base::bytes::{i32_at, u16_at, u32_at, u64_at};

/// A symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address.
    pub address: u64,
    /// Its name.
    pub name: String,
}

/// Tables are aligned to this.
const ALIGN: usize = 8;

/// Tokens, and what the index of each takes.
const TOKENS: usize = 256;
const INDEX: usize = 2 * TOKENS;

/// The longest token, and the tokens of the longest name (`KSYM_NAME_LEN` is 512).
const MAX_TOKEN: usize = 64;
const MAX_NAME: usize = 512;

/// A marker says where each 256th name begins.
const MARKED: usize = 256;

/// The order by name takes three bytes a symbol.
const ORDER: usize = 3;

/// More symbols than any kernel has.
const MAX_SYMBOLS: usize = 1 << 20;

/// How many things that look like the tables of tokens are tried.
const TRIES: usize = 8;

/// Kernel addresses begin here.
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// The digits are tokens of themselves, in every kernel.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";

/// Finds and decodes the symbols; `None` if the image keeps none, or none that are known here.
#[must_use]
pub fn decode(image: &[u8]) -> Option<Vec<Symbol>> {
    occurrences(image, DIGITS)
        .filter_map(|digits| Tokens::around(image, digits))
        .take(TRIES)
        .find_map(|tokens| {
            let names = names(image, tokens.start)?;
            let addresses = addresses(image, names.header(), tokens.end, names.count)?;
            names.symbols(image, &tokens, &addresses)
        })
}

/// The names in front of the tokens: markers end there, or the order by name does, and the markers in front of it.
fn names(image: &[u8], tokens: usize) -> Option<Names> {
    let furthest = tokens.min(align(ORDER * MAX_SYMBOLS));
    (0..furthest).step_by(ALIGN).find_map(|between| {
        let markers = Markers::before(image, tokens - between)?;
        let names = Names::before(image, &markers)?;
        (between == 0 || between == align(ORDER * names.count)).then_some(names)
    })
}

fn occurrences<'a>(image: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = image.windows(wanted.len()).enumerate();
    // One byte first: most windows end there.
    windows
        .filter(move |(_, window)| window[0] == wanted[0] && *window == wanted)
        .map(|(at, _)| at)
}

fn align(at: usize) -> usize {
    at.next_multiple_of(ALIGN)
}

/// `kallsyms_token_table` and `kallsyms_token_index`.
struct Tokens<'a> {
    start: usize,
    /// Behind the index.
    end: usize,
    texts: Vec<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    /// The table whose tokens for the digits are here: 48 others are in front of them.
    fn around(image: &'a [u8], digits: usize) -> Option<Self> {
        let first = digits.saturating_sub(usize::from(b'0') * MAX_TOKEN);
        (align(first)..=digits)
            .step_by(ALIGN)
            .find_map(|start| Self::at(image, start))
    }

    /// The table that begins here, which its index confirms.
    fn at(image: &'a [u8], start: usize) -> Option<Self> {
        let mut texts = Vec::with_capacity(TOKENS);
        let mut at = start;
        let mut offsets = [0; TOKENS];
        for offset in &mut offsets {
            *offset = u16::try_from(at - start).ok()?;
            let rest = image.get(at..image.len().min(at + MAX_TOKEN))?;
            let len = rest.iter().position(|&byte| byte == 0)?;
            texts.push(&rest[..len]);
            at += len + 1;
        }
        let index = align(at);
        let fits = offsets
            .iter()
            .enumerate()
            .all(|(number, offset)| u16_at(image, index + 2 * number) == Some(*offset));
        fits.then_some(Tokens {
            start,
            end: index + INDEX,
            texts,
        })
    }
}

/// `kallsyms_markers`.
struct Markers {
    start: usize,
    count: usize,
    /// The first two, the first being 0, and the last.
    second: usize,
    last: usize,
}

impl Markers {
    /// The table that ends here, but for its alignment: rising numbers that begin with 0.
    fn before(image: &[u8], end: usize) -> Option<Self> {
        let mut at = end.checked_sub(4)?;
        if u32_at(image, at)? == 0 {
            at = at.checked_sub(4)?;
        }
        let last = u32_at(image, at)?;
        let (mut next, mut count) = (last, 1);
        let mut second = 0;
        while next != 0 && count < MAX_SYMBOLS / MARKED {
            at = at.checked_sub(4)?;
            let marker = u32_at(image, at)?;
            if marker >= next {
                return None;
            }
            (second, next, count) = (next, marker, count + 1);
        }
        // One alone would be any zero.
        (next == 0 && count > 1).then_some(Markers {
            start: at,
            count,
            second: second as usize,
            last: last as usize,
        })
    }
}

/// `kallsyms_names`.
struct Names {
    start: usize,
    end: usize,
    /// `kallsyms_num_syms`, in front of it.
    count: usize,
}

impl Names {
    /// The names that end where the markers begin. Where they begin is only known to the length of the last 256,
    /// so places are tried until the count in front and the names themselves agree with the markers.
    fn before(image: &[u8], markers: &Markers) -> Option<Self> {
        let latest = markers.start.checked_sub(markers.last)?;
        let earliest = latest.saturating_sub(MARKED * (MAX_NAME + 2) + ALIGN);
        let mut start = latest - latest % ALIGN;
        while start >= earliest.max(ALIGN) {
            let count = u32_at(image, start - ALIGN)? as usize;
            if count.div_ceil(MARKED) == markers.count {
                let names = Names {
                    start,
                    end: markers.start,
                    count,
                };
                if names.fit(image, markers) {
                    return Some(names);
                }
            }
            start -= ALIGN;
        }
        None
    }

    fn fit(&self, image: &[u8], markers: &Markers) -> bool {
        let mut at = self.start;
        for number in 0..self.count {
            if number == MARKED && at - self.start != markers.second {
                return false;
            }
            match entry(image, at, self.end) {
                Some((_, next)) => at = next,
                None => return false,
            }
        }
        align(at) == self.end
    }

    /// Where `kallsyms_num_syms` is.
    fn header(&self) -> usize {
        self.start - ALIGN
    }

    fn symbols(&self, image: &[u8], tokens: &Tokens<'_>, addresses: &[u64]) -> Option<Vec<Symbol>> {
        let mut symbols = Vec::with_capacity(self.count);
        let mut at = self.start;
        for address in addresses {
            let (indices, next) = entry(image, at, self.end)?;
            at = next;
            let text: Vec<u8> = indices
                .iter()
                .flat_map(|&index| tokens.texts[usize::from(index)])
                .copied()
                .collect();
            // The first character is the kind, as `nm` shows it. Names are the compiler's: plain ASCII.
            let (_, name) = text.split_first()?;
            if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                symbols.push(Symbol {
                    address: *address,
                    name: String::from_utf8_lossy(name).into_owned(),
                });
            }
        }
        Some(symbols)
    }
}

/// A name's tokens, and where the next name begins. From 6.1 on, a length over 127 takes two bytes.
fn entry(image: &[u8], at: usize, end: usize) -> Option<(&[u8], usize)> {
    let first = usize::from(*image.get(at)?);
    let (len, from) = if first & 0x80 == 0 {
        (first, at + 1)
    } else {
        let second = usize::from(*image.get(at + 1)?);
        (first & 0x7f | second << 7, at + 2)
    };
    let next = from + len;
    if len == 0 || len > MAX_NAME || next > end {
        return None;
    }
    Some((image.get(from..next)?, next))
}

/// The symbols' addresses: tables of 32-bit offsets and their base, in front of the names or behind the tokens.
fn addresses(image: &[u8], header: usize, behind: usize, count: usize) -> Option<Vec<u64>> {
    let size = align(count.checked_mul(4)?);
    let old = || {
        let base = header.checked_sub(ALIGN)?;
        relative(image, base.checked_sub(size)?, base, count)
    };
    let new = || {
        let offsets = align(behind);
        relative(image, offsets, offsets.checked_add(size)?, count)
    };
    new().or_else(old)
}

/// Offsets are from the base; or, with `CONFIG_KALLSYMS_ABSOLUTE_PERCPU`, those that are not negative are addresses
/// (of per-CPU variables), and the others count from the base downwards.
fn relative(image: &[u8], offsets: usize, base: usize, count: usize) -> Option<Vec<u64>> {
    let base = u64_at(image, base).filter(|base| *base >= KERNEL)?;
    let offsets: Vec<i32> = (0..count)
        .map(|number| i32_at(image, offsets + 4 * number))
        .collect::<Option<_>>()?;
    let absolute = offsets.iter().any(|offset| *offset < 0);
    let address = |offset: i32| {
        match u64::try_from(offset) {
            Ok(offset) if absolute => Some(offset),
            Ok(offset) => base.checked_add(offset),
            // -1 means the base itself.
            Err(_) => base.checked_add(u64::from(offset.unsigned_abs()) - 1),
        }
    };
    let addresses: Vec<u64> = offsets.into_iter().map(address).collect::<Option<_>>()?;
    // The tables are sorted by address; anything else is not a table.
    addresses.is_sorted().then_some(addresses)
}
