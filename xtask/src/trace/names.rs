//! Addresses to names.

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiffy::trace::Image;
use jiffy::trace::raw::{Sample, Trace};

use crate::failure::usage;

/// What user code is called without symbols: before the payload runs, it is PID 1's.
const USER: &str = "[user code]";
const PID1: &str = "[PID 1]";

/// A function in a call chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its name, or its address.
    pub(crate) name: String,
    /// Whether it is a name.
    pub(crate) named: bool,
}

/// The kernel's symbols, and those of user programs; by default of nothing.
#[derive(Default)]
pub(crate) struct Names {
    kernel: Image,
    users: Vec<Image>,
}

impl Names {
    /// Reads the symbols of these files.
    pub(crate) fn load(kernel: &Path, users: &[PathBuf]) -> Result<Self> {
        let load = |path: &Path| Image::load(path).map_err(|error| usage(error.to_string()));
        Ok(Names {
            kernel: load(kernel)?,
            users: users.iter().map(|path| load(path)).collect::<Result<_>>()?,
        })
    }

    /// Whether the kernel's functions have names.
    pub(crate) fn kernel_has_symbols(&self) -> bool {
        self.kernel.has_symbols()
    }

    /// The name of a kernel function that was called or returned to.
    pub(crate) fn kernel(&self, address: u64) -> Frame {
        frame(&self.kernel, address).unwrap_or_else(|| unnamed(address))
    }

    /// A sample's call chain, outermost first.
    pub(crate) fn chain(&self, trace: &Trace, sample: &Sample) -> Vec<Frame> {
        if sample.user {
            let found = self.users.iter().find_map(|image| frame(image, sample.ip));
            let payload = trace.started.is_some_and(|started| sample.us >= started);
            return vec![found.unwrap_or_else(|| Frame {
                name: if payload { USER } else { PID1 }.to_owned(),
                named: false,
            })];
        }
        let callers = trace
            .callers
            .get(sample.callers)
            .map_or(&[][..], Vec::as_slice);
        let mut chain: Vec<_> = callers
            .iter()
            .rev()
            // The call is in front of the address that it returns to.
            .map(|address| self.kernel(address.wrapping_sub(1)))
            .collect();
        chain.push(self.kernel(sample.ip));
        chain
    }

    /// The functions of a sample's call chain.
    pub(crate) fn functions(&self, trace: &Trace, sample: &Sample) -> Vec<String> {
        let chain = self.chain(trace, sample).into_iter();
        chain.map(|frame| frame.name).collect()
    }
}

fn frame(image: &Image, address: u64) -> Option<Frame> {
    let (_, name) = image.function(address)?;
    Some(Frame {
        name: name.to_owned(),
        named: true,
    })
}

fn unnamed(address: u64) -> Frame {
    Frame {
        name: format!("{address:#x}"),
        named: false,
    }
}
