//! Many servers that answer probes: one namespace that holds all their addresses, and one thread that answers for all.
//!
//! ```text
//!  director  back 10.0.1.1 ──veth── eth0 10.0.1.2  servers: 10.1.0.0/16, all local
//! ```
//! When a probe came is what the servers' kernel says, in whose receive path the sending system call of the prober ends.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lab::Netns;
use nix::errno::Errno;
use nix::libc::in_pktinfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

/// When each server was asked, since 1970, in the order of time.
pub type Asked = HashMap<Ipv4Addr, Vec<Duration>>;

/// The servers, and the director that reaches them.
pub struct Fleet {
    /// Where the daemon is to run.
    pub director: Netns,
    asked: Arc<Mutex<Asked>>,
    /// The thread that answers holds it, too, by its socket.
    _servers: Netns,
}

impl Fleet {
    /// All addresses of 10.1.0.0/16 answer on port 53 what they are asked.
    pub fn start() -> Fleet {
        let (director, servers) = (Netns::new("director"), Netns::new("servers"));
        director.set_sysctl("net.ipv4.ip_forward", "1");
        director.ip(&[
            &format!("link add back type veth peer name eth0 netns {}", servers.name()),
            "link set back addrgenmode none",
            "addr add 10.0.1.1/30 dev back",
            "link set back up",
        ]);
        servers.ip(&[
            "link set eth0 addrgenmode none",
            "addr add 10.0.1.2/30 dev eth0",
            "link set eth0 up",
            "route add local 10.1.0.0/16 dev lo",
        ]);
        director.ip(&["route add 10.1.0.0/16 via 10.0.1.2"]);
        let asked = Arc::new(Mutex::new(Asked::new()));
        let socket = servers.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:53")?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20))?;
            Ok::<_, std::io::Error>(socket)
        });
        let (socket, noted) = (socket.expect("a socket for all servers"), Arc::clone(&asked));
        thread::spawn(move || {
            loop {
                answer(&socket, &noted).expect("a probe answered");
            }
        });
        Fleet { director, asked, _servers: servers }
    }

    /// What came since this was asked for the last time.
    pub fn asked(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().expect("what came"))
    }
}

/// Waits for a datagram and sends it back, from the address that it was sent to.
fn answer(socket: &UdpSocket, asked: &Mutex<Asked>) -> Result<(), Errno> {
    let mut datagram = [0; 512];
    let mut control = nix::cmsg_space!(in_pktinfo, TimeSpec);
    let mut parts = [IoSliceMut::new(&mut datagram)];
    let received =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let (mut to, mut at) = (None, None);
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => to = Some(info),
            ControlMessageOwned::ScmTimestampns(time) => at = Some(Duration::from(time)),
            _ => {}
        }
    }
    let (from, length) = (received.address.expect("who asks"), received.bytes);
    let (to, at) = (to.expect("whom it asks"), at.expect("when"));
    let server = Ipv4Addr::from(u32::from_be(to.ipi_addr.s_addr));
    asked.lock().expect("what came").entry(server).or_default().push(at);
    let source = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: to.ipi_addr, ipi_addr: to.ipi_addr };
    let source = [ControlMessage::Ipv4PacketInfo(&source)];
    let reply = [IoSlice::new(&datagram[..length])];
    sendmsg(socket.as_raw_fd(), &reply, &source, MsgFlags::empty(), Some(&from)).map(drop)
}
