//! What a kernel has for programs that no shell can ask for: each is tried, and a line says whether it works.
//!
//! unsafe lives here because rustix has no signalfd.
#![allow(unsafe_code)]

use crate::expect;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::thread::futex;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

type Attempt = fn() -> io::Result<()>;

/// What is said of it, and how it is tried.
const ALL: [(&str, Attempt); 9] = [
    ("unix streams work", streams),
    ("unix datagrams work", datagrams),
    ("descriptors over a socket work", descriptors),
    ("eventfd works", counter),
    ("epoll works", readiness),
    ("futex works", wake_up),
    ("signalfd works", signals),
    ("timerfd works", timer),
    ("pty works", terminal),
];

/// Tries all.
pub(crate) fn try_out() -> io::Result<()> {
    let mut out = io::stdout();
    let mut failed = Ok(());
    for (name, attempt) in ALL {
        match attempt() {
            Ok(()) => writeln!(out, "{name}")?,
            Err(error) => {
                writeln!(out, "not so: {name}: {error}")?;
                failed = Err(io::Error::other(name));
            }
        }
    }
    failed
}

fn streams() -> io::Result<()> {
    let path = "/tmp/stream";
    let listener = UnixListener::bind(path)?;
    let mut client = UnixStream::connect(path)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"there")?;
    drop(client);
    let mut heard = Vec::new();
    server.read_to_end(&mut heard)?;
    expect("something else was heard", heard == b"there")
}

/// Two datagrams stay two.
fn datagrams() -> io::Result<()> {
    let path = "/tmp/datagram";
    let receiver = UnixDatagram::bind(path)?;
    let sender = UnixDatagram::unbound()?;
    let mut heard = [0; 8];
    for said in [&b"one"[..], b"three"] {
        sender.send_to(said, path)?;
    }
    for said in [&b"one"[..], b"three"] {
        let len = receiver.recv(&mut heard)?;
        expect("something else was heard", &heard[..len] == said)?;
    }
    Ok(())
}

/// What is written to a descriptor that came over a socket is read from where it was sent (unix(7), SCM_RIGHTS).
fn descriptors() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let counter = eventfd(0, EventfdFlags::NONBLOCK)?;
    let sent = [counter.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    expect(
        "no room",
        along.push(SendAncillaryMessage::ScmRights(&sent)),
    )?;
    sendmsg(&ours, &[IoSlice::new(b"x")], &mut along, SendFlags::empty())?;

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(&theirs, parts, &mut along, RecvFlags::CMSG_CLOEXEC)?;
    let mut came = along.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let descriptor = came
        .next()
        .ok_or_else(|| io::Error::other("none has come"))?;
    add(&descriptor, 7)?;
    expect("it is another", taken(&counter)? == 7)
}

fn counter() -> io::Result<()> {
    let counter = eventfd(1, EventfdFlags::NONBLOCK)?;
    add(&counter, 41)?;
    expect("it counts otherwise", taken(&counter)? == 42)?;
    let empty = rustix::io::read(&counter, &mut [0; 8]);
    expect("it is not empty", empty == Err(Errno::AGAIN))
}

/// Of two descriptors, the one that can be read is told, and no sooner than it can.
fn readiness() -> io::Result<()> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let counters = [
        eventfd(0, EventfdFlags::NONBLOCK)?,
        eventfd(0, EventfdFlags::NONBLOCK)?,
    ];
    for (counter, number) in counters.iter().zip(1..) {
        let name = epoll::EventData::new_u64(number);
        epoll::add(&set, counter, name, epoll::EventFlags::IN)?;
    }
    let ready = || -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(2);
        epoll::wait(
            &set,
            rustix::buffer::spare_capacity(&mut events),
            Some(&Timespec::default()),
        )?;
        Ok(events.iter().map(|event| event.data.u64()).collect())
    };
    expect("one is ready", ready()?.is_empty())?;
    add(&counters[1], 1)?;
    expect("the other is ready", ready()? == [2])
}

/// One thread wakes another that sleeps, as told by the call.
fn wake_up() -> io::Result<()> {
    let word = AtomicU32::new(0);
    let flags = futex::Flags::PRIVATE;
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| futex::wait(&word, flags, 0, None));
        while futex::wake(&word, flags, 1)? == 0 && !sleeper.is_finished() {
            thread::yield_now();
        }
        let woken = sleeper.join();
        woken.map_err(|_| io::ErrorKind::Other)?.map_err(Into::into)
    })
}

fn signals() -> io::Result<()> {
    // SAFETY: sets and the signal's description are plain data; the descriptor is new.
    let (mut file, sent) = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        (File::from_raw_fd(fd), libc::raise(libc::SIGUSR1))
    };
    expect("it was not sent", sent == 0)?;
    let mut told = [0; mem::size_of::<libc::signalfd_siginfo>()];
    file.read_exact(&mut told)?;
    // `ssi_signo` comes first.
    let signal = told[..4] == libc::SIGUSR1.to_ne_bytes();
    expect("it is another signal", signal)
}

fn timer() -> io::Result<()> {
    let period = Duration::from_millis(10);
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec::try_from(period).map_err(io::Error::other)?,
    };
    let began = Instant::now();
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    expect("it rang more than once", taken(&timer)? == 1)?;
    expect("it rang too soon", began.elapsed() >= period)
}

/// A line that is typed is read at the other end, and echoed.
fn terminal() -> io::Result<()> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    expect(
        "it is not in /dev/pts",
        name.to_bytes().starts_with(b"/dev/pts/"),
    )?;
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let theirs = File::from(open(name.as_c_str(), flags, Mode::empty())?);
    let mut ours = File::from(ours);
    ours.write_all(b"typed\n")?;
    for (mut end, text) in [(&theirs, &b"typed\n"[..]), (&ours, b"typed\r\n")] {
        let mut read = vec![0; text.len()];
        end.read_exact(&mut read)?;
        expect("something else was read", read == text)?;
    }
    Ok(())
}

fn add(counter: &OwnedFd, value: u64) -> io::Result<()> {
    rustix::io::write(counter, &value.to_ne_bytes())?;
    Ok(())
}

/// What a counter had.
fn taken(counter: &OwnedFd) -> io::Result<u64> {
    let mut value = [0; 8];
    rustix::io::read(counter, &mut value)?;
    Ok(u64::from_ne_bytes(value))
}
