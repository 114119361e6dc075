//! Addresses to names.

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiffy::trace::Image;
use jiffy::trace::raw::{Sample, Trace};
use rustc_demangle::demangle;

use crate::base::failure::usage;

/// The name of user code without symbols. Before the payload runs, it is PID 1's.
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

/// The symbols of the kernel, of PID 1 and of user programs; none by default.
#[derive(Default)]
pub(crate) struct Names {
    kernel: Image,
    pid1: Option<Image>,
    users: Vec<Image>,
}

impl Names {
    /// Reads the symbols of these files.
    pub(crate) fn load(kernel: &Path, pid1: Option<&Path>, users: &[PathBuf]) -> Result<Self> {
        let load = |path: &Path| Image::load(path).map_err(|error| usage(error.to_string()));
        Ok(Names {
            kernel: load(kernel)?,
            pid1: pid1.map(load).transpose()?,
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
            let payload = trace.started.is_some_and(|started| sample.us >= started);
            let pid1 = self.pid1.iter().filter(|_| !payload);
            let found = pid1
                .chain(&self.users)
                .find_map(|image| frame(image, sample.ip));
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
            // The call instruction is before the return address.
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

/// A function's name in the source: PID 1 and maybe the payload are in Rust. The alternate form omits the hash.
fn frame(image: &Image, address: u64) -> Option<Frame> {
    let (_, name) = image.function(address)?;
    Some(Frame {
        name: format!("{:#}", demangle(name)),
        named: true,
    })
}

fn unnamed(address: u64) -> Frame {
    Frame {
        name: format!("{address:#x}"),
        named: false,
    }
}
