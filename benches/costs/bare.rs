//! A loop that sends prepared bytes and looks at nothing but the codes of the answers: the least that IPVS can cost.

use ipvs_netlink::Request;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

/// A socket in the network namespace of the thread, and the family's id.
pub struct Bare {
    socket: Socket,
    family: u16,
}

impl Bare {
    /// Opens the socket.
    pub fn open() -> Bare {
        let mut socket = Socket::new(NETLINK_GENERIC).expect("a netlink socket");
        socket.bind_auto().expect("an address");
        socket.connect(&SocketAddr::new(0, 0)).expect("the kernel");
        socket.set_cap_ack(true).expect("short answers");
        let ask = b"\x20\0\0\0\x10\0\x05\0\x01\0\0\0\0\0\0\0\x03\x01\0\0\x09\0\x02\0IPVS\0\0\0\0";
        socket.send(ask, 0).expect("GETFAMILY");
        let mut answer = Vec::with_capacity(4096);
        socket.recv(&mut answer, 0).expect("the family");
        socket.recv(&mut Vec::with_capacity(4096), 0).expect("an acknowledgement");
        // Behind the headers and the name.
        Bare { socket, family: u16::from_ne_bytes([answer[36], answer[37]]) }
    }

    /// The bytes of these requests, and how many they are.
    pub fn prepare<R>(&self, requests: &[Request<R>]) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| request.encode_into(&mut bytes, self.family, 1));
        (bytes, requests.len())
    }

    /// Sends them at once and waits for as many acknowledgements without error.
    pub fn change(&self, (bytes, count): &(Vec<u8>, usize)) {
        let mut buffer = Vec::with_capacity(4096);
        self.socket.send(bytes, 0).expect("changes");
        for _ in 0..*count {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).expect("an acknowledgement");
            assert_eq!(buffer[16..20], [0; 4], "a refusal");
        }
    }

    /// Sends a request for a dump and receives it to its end.
    pub fn dump(&self, (bytes, _): &(Vec<u8>, usize)) {
        const NLMSG_DONE: u8 = 3;
        // As the library's, that the kernel's part is the same.
        let mut buffer = Vec::with_capacity(4096);
        self.socket.send(bytes, 0).expect("a request for a dump");
        // The last message of the last datagram: 16 bytes of header and the code.
        while buffer.len() < 20 || buffer[buffer.len() - 16] != NLMSG_DONE {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).expect("a dump");
        }
    }
}
