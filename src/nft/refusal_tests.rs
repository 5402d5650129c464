//! Real refusals: a server without a process, a client behind a router with our tables, and who hears of it.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::Nft;
use super::kernel_tests::{in_namespace, nft, wait};
use super::packet_tests::{Host, lab};
use crate::core::model::{Refusals, Rules};
use crate::kernel::hints;

const GROUP: u16 = 26_998;
const SOON: Duration = Duration::from_secs(10);
/// So long nothing may come where nothing is to come.
const NEVER: Duration = Duration::from_millis(300);

/// A client's socket to a server's address, of its family.
fn client_of(client: &Host, server: SocketAddr) -> UdpSocket {
    client.run(move || {
        let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.connect(server).unwrap();
        socket
    })
}

/// What comes of a datagram that nobody receives.
fn sent(socket: &UdpSocket, limit: Duration) -> ErrorKind {
    socket.set_read_timeout(Some(limit)).unwrap();
    socket.send(b"anybody?").unwrap();
    socket.recv(&mut [0; 16]).unwrap_err().kind()
}

async fn next(heard: &mut UnboundedReceiver<SocketAddr>, limit: Duration) -> Option<SocketAddr> {
    timeout(limit, heard.recv()).await.ok().flatten()
}

#[test]
fn refusals_are_heard_and_hidden() {
    in_namespace(|| {
        let servers =
            ["10.0.1.11:5300", "[2001:db8:1::11]:5300"].map(|server| server.parse::<SocketAddr>().unwrap());
        let asked = Refusals { group: Some(GROUP), hidden: true };
        let replies = [("10.0.1.11:5300", "192.0.2.53:53"), ("[2001:db8:1::11]:5300", "[2001:db8::53]:53")];
        let (client, server) = lab(&replies, asked);
        nft("add rule inet fw forward accept");
        // All of the server's errors: what is counted here is what the router lets through.
        server.run(|| {
            for key in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
                std::fs::write(format!("/proc/sys/net/{key}"), "0").unwrap();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = hints::listen(GROUP).unwrap();
            let taken = hints::listen(GROUP).err().unwrap();
            assert!(taken.contains("another program has it"), "{taken}");
            let (tell, mut heard) = unbounded_channel();
            tokio::spawn(hints::run(socket, move |server| tell.send(server).unwrap()));
            for server in servers {
                let known = client_of(&client, server);
                assert_eq!(sent(&known, NEVER), ErrorKind::WouldBlock, "the client sees nothing");
                assert_eq!(next(&mut heard, SOON).await, Some(server));
                // The director's own probes see their errors.
                let probe = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
                probe.connect(server).unwrap();
                assert_eq!(sent(&probe, SOON), ErrorKind::ConnectionRefused);
                // Another port of the server is none of ours.
                let mut other = server;
                other.set_port(5301);
                assert_eq!(sent(&client_of(&client, other), SOON), ErrorKind::ConnectionRefused);
                assert_eq!(next(&mut heard, NEVER).await, None);

                // One was heard: 4 more of the first 5, and 10 in a second.
                let begun = std::time::Instant::now();
                (0..30).for_each(|_| _ = known.send(b"anybody?"));
                let mut count = 0;
                while next(&mut heard, NEVER).await.is_some() {
                    count += 1;
                }
                let most = 5 + (begun.elapsed().as_millis() / 100) as usize;
                assert!((1..=most).contains(&count), "{count} of 30 heard, at most {most}");
            }
        });
    });
}

#[test]
fn a_server_on_the_director_is_heard_too() {
    in_namespace(|| {
        let server: SocketAddr = "10.0.1.1:5300".parse().unwrap();
        let asked = Refusals { group: Some(GROUP), hidden: true };
        let (client, _server) = lab(&[("10.0.1.1:5300", "192.0.2.53:53")], asked);
        nft("add rule inet fw input accept");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (tell, mut heard) = unbounded_channel();
            tokio::spawn(hints::run(hints::listen(GROUP).unwrap(), move |server| tell.send(server).unwrap()));
            assert_eq!(sent(&client_of(&client, server), NEVER), ErrorKind::WouldBlock);
            assert_eq!(next(&mut heard, SOON).await, Some(server));
        });
    });
}

#[test]
fn what_is_not_asked_for_is_not_done() {
    in_namespace(|| {
        let server: SocketAddr = "10.0.1.11:5300".parse().unwrap();
        let (client, _server) = lab(&[("10.0.1.11:5300", "192.0.2.53:53")], Refusals::default());
        nft("add rule inet fw forward accept");
        let client = client_of(&client, server);
        let mut rules =
            Rules { replies: [(server, "192.0.2.53:53".parse().unwrap())].into(), ..Rules::default() };
        for (group, hidden) in [(None, false), (Some(GROUP), false), (None, true), (Some(GROUP), false)] {
            rules.refuse(Refusals { group, hidden });
            wait(Nft::new().apply(&rules));
            let (limit, expected) = match hidden {
                true => (NEVER, ErrorKind::WouldBlock),
                false => (SOON, ErrorKind::ConnectionRefused),
            };
            assert_eq!(sent(&client, limit), expected, "{group:?} {hidden}");
        }
    });
}
