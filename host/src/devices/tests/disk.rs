//! Disks: every request, and every way to get one wrong.

use super::{BUFFERS, Driver};
use crate::base::cast::to_u32;
use crate::devices::block::{Block, Disk};
use crate::error::Result;
use std::fs;
use std::path::PathBuf;
use tempfile::NamedTempFile;

const SECTORS: u64 = 16;
/// Where the tests' requests have their parts.
const DATA: u64 = BUFFERS + 0x1000;
const STATUS: u64 = BUFFERS + 0x8000;

struct Bench {
    file: NamedTempFile,
    read_only: bool,
}

impl Bench {
    fn new(read_only: bool) -> Self {
        let file = NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..SECTORS * 512)
            .map(|at| (at / 512).to_le_bytes()[0])
            .collect();
        fs::write(file.path(), bytes).unwrap();
        Bench { file, read_only }
    }

    fn open(&self, read_only: bool) -> Result<Block> {
        Block::open(&Disk {
            path: self.file.path().into(),
            read_only,
            direct: false,
        })
    }

    fn block(&self) -> Block {
        self.open(self.read_only).unwrap()
    }

    /// One request; its status, the length written, and what is at [`DATA`] afterwards.
    fn ask(&self, kind: u32, sector: u64, data: &[u8], room: u32) -> (u8, u32, Vec<u8>) {
        let mut driver = Driver::new(1);
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        driver.put(BUFFERS, &header);
        driver.put(DATA, data);
        driver.put(STATUS, &[0xaa]);
        let mut parts = vec![(BUFFERS, 16, false)];
        if !data.is_empty() {
            parts.push((DATA, to_u32(data.len()), false));
        }
        if room > 0 {
            // In two halves: a request's data may lie anywhere.
            parts.push((DATA, room / 2, true));
            parts.push((DATA + u64::from(room / 2), room - room / 2, true));
        }
        parts.push((STATUS, 1, true));
        driver.request(0, &parts);
        driver.notify(&mut self.block()).unwrap();
        let (count, len) = driver.used(0);
        assert_eq!(count, 1);
        let [status] = driver.get(STATUS);
        let mut back = vec![0; room.max(1) as usize];
        driver.memory.read(DATA, &mut back).unwrap();
        (status, len, back)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.file.path()).unwrap()
    }
}

#[test]
fn sectors_are_read_and_written() {
    let bench = Bench::new(false);
    let (status, len, back) = bench.ask(0, 3, &[], 1024);
    assert_eq!((status, len), (0, 1025));
    assert_eq!((back[0], back[511], back[512]), (3, 3, 4));
    let (status, len, _) = bench.ask(1, 5, &[0x77; 512], 0);
    assert_eq!((status, len), (0, 1));
    let bytes = bench.bytes();
    assert_eq!(
        (bytes[5 * 512 - 1], bytes[5 * 512], bytes[6 * 512]),
        (4, 0x77, 6)
    );
    assert_eq!(bench.ask(4, 0, &[], 0).0, 0, "flush");
    assert_eq!(&bench.ask(8, 0, &[], 20).2[..5], b"jiffy");
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let bench = Bench::new(false);
    let range = |sector: u64, count: u32, flags: u32| {
        let mut bytes = sector.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes
    };
    // What the file system under the test cannot do is said to be unsupported.
    for (kind, flags) in [(11, 0), (13, 1), (13, 0)] {
        let (status, ..) = bench.ask(kind, 0, &range(2, 2, flags), 0);
        let zero = bench.bytes()[1024..2048].iter().all(|&byte| byte == 0);
        assert!(status == 0 && zero || status == 2, "{kind}: {status}");
    }
    assert_eq!(bench.ask(11, 0, &range(15, 2, 0), 0).0, 1, "past the end");
    assert_eq!(bench.ask(11, 0, &range(0, 0, 0), 0).0, 1, "nothing");
    assert_eq!(bench.ask(11, 0, &range(0, 1, 1), 0).0, 2, "no such flag");
    assert_eq!(bench.ask(13, 0, &[0; 15], 0).0, 1, "not whole");
    assert_eq!(bench.bytes()[0..512], [0; 512], "the first sector was zero");
}

#[test]
fn what_cannot_be_done_is_answered() {
    let bench = Bench::new(false);
    for (kind, sector, data, room, status) in [
        (0, SECTORS - 1, 0, 1024, 1),
        (0, u64::MAX, 0, 512, 1),
        (0, u64::MAX - 1, 0, 512, 1),
        (0, u64::MAX / 512, 0, 512, 1),
        (0, 0, 0, 100, 1),
        (1, SECTORS, 512, 0, 1),
        (1, 0, 100, 0, 1),
        (99, 0, 0, 0, 2),
        (2, 0, 512, 0, 2),
    ] {
        let (got, ..) = bench.ask(kind, sector, &vec![0; data], room);
        assert_eq!(got, status, "type {kind}, sector {sector}");
    }
    assert_eq!(bench.bytes().len() as u64, SECTORS * 512);
}

#[test]
fn a_read_only_disk_is_not_written() {
    let bench = Bench::new(true);
    let before = bench.bytes();
    for kind in [1, 11, 13] {
        let (status, ..) = bench.ask(kind, 0, &[1; 512], 0);
        assert_eq!(status, 1, "type {kind}");
    }
    assert_eq!(bench.bytes(), before);
}

#[test]
fn a_disk_has_one_writer() {
    let bench = Bench::new(false);
    let held = bench.block();
    let error = bench.open(false).unwrap_err().to_string();
    assert!(error.contains("another process uses it"), "{error}");
    assert!(bench.open(true).is_err());
    drop(held);
    let (one, two) = (bench.open(true), bench.open(true));
    assert!(one.is_ok() && two.is_ok());
    let missing = Disk {
        path: PathBuf::from("/no/such/disk"),
        ..Disk::default()
    };
    assert!(Block::open(&missing).is_err());
}
