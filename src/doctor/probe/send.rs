//! The probe's datagrams: from the namespace through the VIP, and from the director straight to a server.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use super::space::Space;
use super::{Course, Question};
use crate::health::protocol::{Ask, Judgement};

/// Where nothing says how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// From one datagram to the next.
const PACE: Duration = Duration::from_millis(20);

/// What a service is sent that has no check with an answer.
const MARK: &[u8] = b"ipvsd doctor";

/// Sends `count` datagrams to the VIP; how many came back from each address.
///
/// # Errors
/// A socket could not be used, in words.
pub async fn send(space: &Space, course: &Course, count: usize) -> Result<BTreeMap<SocketAddr, u64>, String> {
    let (path, vip, question) = (space.path(), course.vip, course.question.clone());
    let exchange = move || {
        let namespace = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        // This thread ends with the exchange; it is no thread that does anything else.
        let done = std::thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            exchange(vip, question.as_ref(), count)
        });
        let done = done.join().map_err(|_| "the probe's thread died".to_owned())?;
        done.map_err(|error: io::Error| format!("a probe to {vip}: {error}"))
    };
    tokio::task::spawn_blocking(exchange).await.map_err(|error| error.to_string())?
}

fn exchange(
    vip: SocketAddr,
    question: Option<&Question>,
    count: usize,
) -> io::Result<BTreeMap<SocketAddr, u64>> {
    let socket = UdpSocket::bind(any(vip))?;
    let local = socket.local_addr()?;
    let mut received = BTreeMap::new();
    let mut sent = 0;
    let mut due = Instant::now();
    let mut end = due + PATIENCE;
    let mut buffer = [0; 65536];
    loop {
        let now = Instant::now();
        if sent < count && now >= due {
            let ask = Ask { nonce: rand::random(), local, server: vip };
            // ICMP errors of earlier datagrams come by the next call: they are counted elsewhere.
            let _ = socket.send_to(&datagram(question, &ask), vip);
            sent += 1;
            due = now + PACE;
            end = now + question.map_or(PATIENCE, |question| question.patience);
        }
        if now >= end || received.values().sum::<u64>() >= count as u64 {
            return Ok(received);
        }
        let wait = if sent < count { due } else { end }.saturating_duration_since(now);
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        if let Ok((_, from)) = socket.recv_from(&mut buffer) {
            *received.entry(from).or_default() += 1;
        }
    }
}

/// Whether a server answers the director itself.
pub async fn ask(question: &Question, server: SocketAddr) -> bool {
    let question = question.clone();
    let asked = move || -> io::Result<bool> {
        let socket = UdpSocket::bind(any(server))?;
        socket.connect(server)?;
        let ask = Ask { nonce: rand::random(), local: socket.local_addr()?, server };
        socket.set_read_timeout(Some(question.patience.max(Duration::from_millis(1))))?;
        socket.send(&datagram(Some(&question), &ask))?;
        let mut buffer = [0; 65536];
        let length = socket.recv(&mut buffer)?;
        Ok(question.protocol.judge(&ask, &buffer[..length]) != Judgement::NotOurs)
    };
    tokio::task::spawn_blocking(move || asked().unwrap_or(false)).await.unwrap_or(false)
}

fn datagram(question: Option<&Question>, ask: &Ask) -> Vec<u8> {
    let mut datagram = Vec::new();
    match question {
        Some(question) => question.protocol.request(ask, &mut datagram),
        None => datagram.extend_from_slice(MARK),
    }
    datagram
}

fn any(like: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, 0)
}
