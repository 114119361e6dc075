//! Which devices a machine is to have, and making them.

use super::balloon::Balloon;
use super::block::{Block, Disk};
use super::console::Console;
use super::entropy::Entropy;
use super::net::{Address, Card, Net};
use super::virtio::device::Device;
use super::vsock::{Sockets, Vsock};
use crate::error::{Error, Result};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A device to make.
#[derive(Clone, Debug)]
pub enum Spec {
    /// A disk.
    Disk(Disk),
    /// A network card.
    Net(Card),
    /// A console on two descriptors of ours.
    Console(Terminal),
    /// A source of random numbers.
    Entropy,
    /// Sockets between guest and host.
    Vsock(Sockets),
    /// Memory that the guest frees goes back to the host.
    Balloon,
}

/// The two ends of a console.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// Where keys are read.
    pub input: Arc<File>,
    /// Where output is shown.
    pub output: Arc<File>,
}

impl Spec {
    /// The IPv4 address that the kernel is to set, if this is a card with one.
    pub(super) fn address(&self) -> Option<Address> {
        match self {
            Spec::Net(card) => card.address,
            _ => None,
        }
    }

    /// Makes the device, and opens its files. `guest_ready` becomes true when PID 1 runs.
    pub(super) fn make(&self, guest_ready: &Arc<AtomicBool>) -> Result<Box<dyn Device>> {
        Ok(match self {
            Spec::Disk(disk) => Box::new(Block::open(disk)?),
            Spec::Net(card) => Box::new(Net::open(card)?),
            Spec::Console(Terminal { input, output }) => {
                let copy = |file: &File| {
                    file.try_clone()
                        .map_err(|error| Error::System { call: "dup", error })
                };
                Box::new(Console::new(copy(input)?, copy(output)?, guest_ready))
            }
            Spec::Entropy => Box::new(Entropy),
            Spec::Balloon => Box::new(Balloon),
            Spec::Vsock(sockets) => Box::new(Vsock::open(sockets)?),
        })
    }
}
