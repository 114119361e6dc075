//! Chooses the unwinding method for one kernel.

use super::frames;
use super::orc::Orc;
use super::scan::Scanner;
use super::stack::{Registers, Stack};
use crate::trace::image::Image;
use crate::trace::raw::How;

/// Finds call chains in one kernel. It caches the return addresses it has seen, so later calls are faster.
#[derive(Debug, Default)]
pub struct Unwinder {
    image: Image,
    /// The kernel's ORC tables, if it has them.
    orc: Option<Orc>,
    scanner: Scanner,
}

impl Unwinder {
    /// Parses this ELF file, which may be damaged.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let file = object::File::parse(bytes).ok();
        Unwinder {
            image: Image::parse(bytes),
            orc: file.as_ref().and_then(Orc::parse),
            scanner: Scanner::default(),
        }
    }

    /// An unwinder of these parts.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn of_parts(image: Image, orc: Option<Orc>) -> Self {
        Unwinder {
            image,
            orc,
            scanner: Scanner::default(),
        }
    }

    /// The kernel's image.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The callers' return addresses, innermost first, as link addresses; and the method that found them.
    #[must_use]
    pub fn callers(&mut self, start: Registers, stack: Stack<'_>) -> (Vec<u64>, How) {
        let image = &self.image;
        if image.frame_pointers() {
            return (frames::walk(image, start, stack), How::FramePointers);
        }
        if let Some(orc) = &self.orc {
            let (chain, complete) = orc.walk(image, start, stack);
            if complete || !chain.is_empty() {
                return (chain, How::Orc);
            }
        }
        (self.scanner.walk(image, start.ip, stack), How::Scan)
    }
}
