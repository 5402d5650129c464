//! What answers in a namespace: UDP (which DNS takes for an answer), TCP and HTTP on the ports of the files.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::Netns;

/// Those that answer; on others there is nobody.
const PORTS: [u16; 8] = [53, 514, 1812, 5060, 5300, 5503, 9000, 10053];
const PAUSE: Duration = Duration::from_millis(50);

/// Threads that answer until they are dropped.
pub struct Answers {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answers {
    pub fn start(netns: &Netns) -> Self {
        let (datagrams, listeners) = netns.run(|| {
            let places =
                || PORTS.into_iter().flat_map(|port| [format!("0.0.0.0:{port}"), format!("[::]:{port}")]);
            let datagrams: Vec<UdpSocket> =
                places().filter_map(|place| UdpSocket::bind(place).ok()).collect();
            let listeners: Vec<TcpListener> =
                places().filter_map(|place| TcpListener::bind(place).ok()).collect();
            (datagrams, listeners)
        });
        assert!(datagrams.len() >= PORTS.len() && listeners.len() >= PORTS.len());
        for socket in &datagrams {
            socket.set_nonblocking(true).expect("a socket option");
        }
        for listener in &listeners {
            listener.set_nonblocking(true).expect("a socket option");
        }
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let mut idle = true;
                for socket in &datagrams {
                    while let (buffer, Ok((length, from))) = received(socket) {
                        let mut buffer = buffer;
                        idle = false;
                        // A query becomes a response without an error.
                        if length > 2 {
                            buffer[2] |= 0x80;
                        }
                        // What is shorter than a header of DNS gets zeros behind it.
                        let _ = socket.send_to(&buffer[..length.max(12)], from);
                    }
                }
                for listener in &listeners {
                    while let Ok((mut stream, _)) = listener.accept() {
                        idle = false;
                        std::thread::spawn(move || {
                            let _ = stream.set_nonblocking(false);
                            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                            if stream.read(&mut [0; 2048]).is_ok_and(|read| read > 0) {
                                let _ = stream.write_all(
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                                );
                            }
                        });
                    }
                }
                if idle {
                    std::thread::sleep(PAUSE);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

fn received(socket: &UdpSocket) -> ([u8; 2048], std::io::Result<(usize, std::net::SocketAddr)>) {
    let mut buffer = [0; 2048];
    let got = socket.recv_from(&mut buffer);
    (buffer, got)
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
