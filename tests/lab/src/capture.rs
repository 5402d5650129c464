//! A capture: every IP packet on every interface of a namespace, read by a packet socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};

use crate::{Netns, Packet};

/// sll_pkttype of what this namespace sent (linux/if_packet.h).
const PACKET_OUTGOING: u8 = 4;

/// How long a stopped capture goes on reading, where packets never stop coming.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running capture.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Packet>>>,
}

impl Capture {
    /// Starts capturing; every packet from now on is seen.
    ///
    /// # Panics
    /// If a packet socket cannot be had.
    pub fn start(netns: &Netns) -> Capture {
        let open = || {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )?;
            setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20))?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000))?;
            Ok::<_, Errno>(socket)
        };
        let socket = netns.run(open).unwrap_or_else(|errno| panic!("capture in {}: {errno}", netns.name()));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut packets = Vec::new();
            let mut buffer = vec![0; 65536];
            let mut end = None;
            loop {
                if end.is_none() && stopped.load(Ordering::Relaxed) {
                    end = Some(Instant::now() + PATIENCE);
                }
                // What the kernel holds already is still read; where traffic never ends, this does.
                if end.is_some_and(|end| Instant::now() > end) {
                    return Ok(packets);
                }
                match receive(socket.as_raw_fd(), &mut buffer) {
                    Ok(packet) => packets.extend(packet),
                    Err(Errno::EAGAIN | Errno::EINTR) if stopped.load(Ordering::Relaxed) => {
                        return Ok(packets);
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        });
        Capture { stop, thread }
    }

    /// Waits until nothing more comes for a moment, and returns what was seen.
    ///
    /// # Panics
    /// If the capture failed.
    pub fn stop(self) -> Vec<Packet> {
        // The traffic under test has ended, but a last reply may still be on its way.
        thread::sleep(Duration::from_millis(100));
        self.stop.store(true, Ordering::Relaxed);
        let packets = self.thread.join().expect("the capture's thread");
        packets.unwrap_or_else(|error| panic!("capture: {error}"))
    }
}

/// Waits for the next packet; None for one that is no IP.
fn receive(socket: RawFd, buffer: &mut [u8]) -> nix::Result<Option<Packet>> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<LinkAddr>(socket, &mut parts, Some(&mut control), MsgFlags::empty())?;
    let time = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(UNIX_EPOCH + Duration::from(time)),
        _ => None,
    });
    // The kernel times what it gives from the moment on at which the option was set.
    let (length, at) = (received.bytes, time.unwrap_or_else(SystemTime::now));
    let (interface, outgoing) =
        received.address.map_or((0, false), |from| (from.ifindex(), from.pkttype() == PACKET_OUTGOING));
    Ok(Packet::parse(&buffer[..length], at, interface, outgoing))
}
