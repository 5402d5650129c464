//! What a table of 4 000 services with 2 destinations each costs: through the library, through `ipvsadm`, and through
//! bare loops that send prepared bytes and look at no answer.
//!
//! `cargo build --release -p ipvs-netlink --example table_bench`, and on a kernel with IPVS, as root, in no hurry:
//! `table_bench [ROUNDS]`. Prints the least of the rounds in milliseconds, which are millions of instructions where the
//! machine counts them (QEMU's icount), and the ratios that are promised; exits with 1 if one of those is missed.
//! Each contestant works in a process and in a network namespace of its own; they take turns.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{
    DestinationConfig, DestinationKey, Flags, Forward, Request, ServiceConfig, ServiceKey, request,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};

const SERVICES: u32 = 4000;
const DESTINATIONS: u32 = 2;
/// As many as the library sends at once.
const WINDOW: usize = 64;

const STEPS: [&str; 5] = ["create", "list", "change", "delete", "flush"];
const CONTESTANTS: [&str; 4] = ["library", "bare", "bare, one by one", "ipvsadm"];

type Millions = [f64; STEPS.len()];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(|first| (CONTESTANTS.iter().position(|name| name == first), first.parse())) {
        Some((Some(contestant), _)) => {
            compete(contestant);
            ExitCode::SUCCESS
        }
        Some((None, Ok(rounds))) => rounds_of(rounds),
        Some((None, Err(_))) => {
            eprintln!("usage: table_bench [ROUNDS]");
            ExitCode::from(2)
        }
        None => rounds_of(5),
    }
}

fn rounds_of(rounds: usize) -> ExitCode {
    let mut best = [[f64::INFINITY; STEPS.len()]; CONTESTANTS.len()];
    for round in 0..rounds {
        for turn in 0..CONTESTANTS.len() {
            let contestant = (round + turn) % CONTESTANTS.len();
            let output = Command::new("/proc/self/exe").arg(CONTESTANTS[contestant]).output().expect("self");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            for (best, word) in best[contestant].iter_mut().zip(text.split_whitespace()) {
                *best = best.min(word.parse().unwrap());
            }
        }
    }
    print!("{SERVICES} services x {DESTINATIONS} ");
    STEPS.iter().for_each(|step| print!("{step:>9}"));
    println!();
    for (name, best) in CONTESTANTS.iter().zip(&best) {
        print!("{name:<19}");
        best.iter().for_each(|millions| print!("{millions:9.1}"));
        println!();
    }
    let [library, bare, _, ipvsadm] = best.map(|best| best[0]);
    println!("create: {:.2} of ipvsadm -R (promised: 0.33 at most)", library / ipvsadm);
    println!("create: {:.2} of the bare loop (promised: 1.3 at most)", library / bare);
    ExitCode::from(u8::from(library > ipvsadm / 3.0 || library > bare * 1.3))
}

/// Does all steps in a fresh network namespace and prints what each took.
fn compete(contestant: usize) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
    drop(Client::connect().expect("IPVS"));
    let times = match CONTESTANTS[contestant] {
        "library" => library(),
        "bare" => bare(WINDOW),
        "bare, one by one" => bare(1),
        _ => ipvsadm(),
    };
    times.iter().for_each(|time| print!("{time} "));
}

fn service(index: u32) -> (ServiceKey, ServiceConfig) {
    let vip = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + index), 53));
    let key = ServiceKey::udp(vip);
    let flags = Flags::exactly(Flags::ONE_PACKET);
    (key, ServiceConfig { flags, ..ServiceConfig::new("wrr".parse().unwrap(), key.family()) })
}

fn server(index: u32) -> DestinationKey {
    DestinationKey(SocketAddr::from((Ipv4Addr::from(0x0b00_0000 + index), 5300)))
}

fn servers(service: u32) -> impl Iterator<Item = DestinationKey> {
    (0..DESTINATIONS).map(move |index| server(service * DESTINATIONS + index))
}

fn creation() -> impl Iterator<Item = Request<()>> {
    let weight = DestinationConfig::new(Forward::Masquerade, 1);
    let one = move |index| {
        let (key, config) = service(index);
        let add = move |server| request::add_destination(&key, &server, &weight);
        [request::add_service(&key, &config)].into_iter().chain(servers(index).map(add))
    };
    (0..SERVICES).flat_map(one)
}

fn change() -> impl Iterator<Item = Request<()>> {
    let weight = DestinationConfig::new(Forward::Masquerade, 7);
    let one = move |index| {
        servers(index).map(move |server| request::set_destination(&service(index).0, &server, &weight))
    };
    (0..SERVICES).flat_map(one)
}

fn deletion() -> impl Iterator<Item = Request<()>> {
    (0..SERVICES).map(|index| request::delete_service(&service(index).0))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed().as_secs_f64() * 1000.0)
}

fn library() -> Millions {
    let mut client = Client::connect().unwrap();
    let create = all(&mut client, creation());
    let change = all(&mut client, change());
    let (found, list) = timed(|| {
        let services = client.list_services().unwrap();
        let servers = |service: &ipvs_netlink::Service| client.list_destinations(&service.key).unwrap().len();
        services.iter().map(servers).sum::<usize>()
    });
    assert_eq!(found, (SERVICES * DESTINATIONS) as usize);
    let delete = all(&mut client, deletion());
    client.send_all(creation());
    let ((), flush) = timed(|| client.flush().unwrap());
    [create, list, change, delete, flush]
}

fn all(client: &mut Client, requests: impl Iterator<Item = Request<()>>) -> f64 {
    let (results, time) = timed(|| client.send_all(requests));
    results.into_iter().for_each(|result| result.unwrap());
    time
}

/// A socket and prepared messages.
struct Bare {
    socket: Socket,
    family: u16,
    window: usize,
}

fn bare(window: usize) -> Millions {
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_GENERIC).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&NetlinkAddr::new(0, 0)).unwrap();
    socket.set_cap_ack(true).unwrap();
    let mut bare = Bare { socket, family: 0, window };
    bare.family = bare.resolve();
    let create = bare.changes(creation());
    let lists: Vec<_> = std::iter::once(request::list_services().encode(bare.family, 1))
        .chain(
            (0..SERVICES).map(|index| request::list_destinations(&service(index).0).encode(bare.family, 1)),
        )
        .collect();
    let ((), list) = timed(|| lists.iter().for_each(|list| bare.dump(list)));
    let change = bare.changes(change());
    let delete = bare.changes(deletion());
    bare.changes(creation());
    let flush = bare.changes([request::flush()].into_iter());
    [create, list, change, delete, flush]
}

impl Bare {
    /// The family's id: where the kernel puts it in the answer to GETFAMILY, behind the name.
    fn resolve(&mut self) -> u16 {
        let ask = b"\x20\0\0\0\x10\0\x05\0\x01\0\0\0\0\0\0\0\x03\x01\0\0\x09\0\x02\0IPVS\0\0\0\0";
        self.socket.send(ask, 0).unwrap();
        let mut answer = Vec::with_capacity(8192);
        self.socket.recv(&mut answer, 0).unwrap();
        self.socket.recv(&mut Vec::with_capacity(8192), 0).unwrap();
        u16::from_ne_bytes(answer[36..38].try_into().unwrap())
    }

    /// Sends them, the preparation not timed, and counts as many acknowledgements without error.
    fn changes(&self, requests: impl Iterator<Item = Request<()>>) -> f64 {
        let requests: Vec<_> = requests.collect();
        let encode = |requests: &[Request<()>]| {
            let mut bytes = Vec::new();
            requests.iter().for_each(|request| request.encode_into(&mut bytes, self.family, 1));
            (bytes, requests.len())
        };
        let prepared: Vec<_> = requests.chunks(self.window).map(encode).collect();
        let mut buffer = Vec::with_capacity(8192);
        let ((), time) = timed(|| {
            for (bytes, count) in &prepared {
                self.socket.send(bytes, 0).unwrap();
                for _ in 0..*count {
                    buffer.clear();
                    self.socket.recv(&mut buffer, 0).unwrap();
                    assert_eq!(buffer[16..20], [0; 4]);
                }
            }
        });
        time
    }

    fn dump(&self, request: &[u8]) {
        const NLMSG_DONE: u8 = 3;
        let mut buffer = Vec::with_capacity(8192);
        self.socket.send(request, 0).unwrap();
        // The last message of the last datagram: 16 bytes of header and the code.
        while buffer.len() < 20 || buffer[buffer.len() - 16] != NLMSG_DONE {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).unwrap();
        }
    }
}

fn ipvsadm() -> Millions {
    let lines = |each: &dyn Fn(u32) -> String| (0..SERVICES).map(each).collect::<String>();
    let vip = |index| match service(index).0 {
        ServiceKey::Address { address, .. } => address,
        other => panic!("{other}"),
    };
    let real = |verb: &str, index, weight| {
        let line = |server| format!("{verb} -u {} -r {server} -m -w {weight}\n", vip(index));
        servers(index).map(line).collect::<String>()
    };
    let create = lines(&|index| format!("-A -u {} -s wrr -o\n{}", vip(index), real("-a", index, 1)));
    let change = lines(&|index| real("-e", index, 7));
    let delete = lines(&|index| format!("-D -u {}\n", vip(index)));
    let create_time = run(&["-R"], &create);
    let list = run(&["-S", "-n"], "");
    let change = run(&["-R"], &change);
    let delete = run(&["-R"], &delete);
    run(&["-R"], &create);
    let flush = run(&["-C"], "");
    [create_time, list, change, delete, flush]
}

fn run(arguments: &[&str], input: &str) -> f64 {
    let (output, time) = timed(|| {
        let mut command = Command::new("ipvsadm");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ipvsadm");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "ipvsadm {arguments:?}: {error}");
    time
}
