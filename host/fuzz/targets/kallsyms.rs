//! The symbols that a kernel keeps of itself: noise in front of a table of tokens, and behind it.
#![no_main]

use jiffy::trace::kallsyms;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|noise: (Vec<u8>, Vec<u8>)| {
    let (front, behind) = noise;
    let (mut texts, mut index) = (Vec::new(), Vec::new());
    for token in 0..=u8::MAX {
        index.extend((texts.len() as u16).to_le_bytes());
        texts.extend(token.is_ascii_graphic().then_some(token));
        texts.push(0);
    }
    let mut image = Vec::new();
    for table in [front, texts, index, behind] {
        image.resize(image.len().next_multiple_of(8), 0);
        image.extend(table);
    }
    let _ = kallsyms::decode(&image);
});
