//! 4 000 services with 2 servers each made, listed, changed, deleted and flushed: through ipvs-netlink, through `ipvsadm`, and
//! through a bare loop.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Instant;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{
    DestinationConfig, DestinationKey, Flags, Forward, Request, Service, ServiceConfig, ServiceKey, request,
};
use lab::Netns;

use crate::bare::Bare;
use crate::meter::row;

const SERVICES: u32 = 4000;
const SERVERS: u32 = 2;
/// As many as the library sends at once.
const WINDOW: usize = 64;

/// Millions of instructions each.
type Costs = [f64; 5];

/// The table, and the two promises.
pub fn against_ipvsadm() {
    // What was made and deleted before makes the kernel slower: this is so for the first, too.
    Netns::new("first").run(|| bare(WINDOW));
    let ipvsadm = Netns::new("ipvsadm").run(ipvsadm);
    let single = Netns::new("single").run(|| bare(1));
    let bare = Netns::new("bare").run(|| bare(WINDOW));
    let library = Netns::new("library").run(library);
    println!(
        "{:<27} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "4 000 × 2, in M", "create", "list", "change", "delete", "flush"
    );
    let contestants = [
        ("ipvsadm", ipvsadm),
        ("bare loop, one by one", single),
        ("bare loop, 64 at once", bare),
        ("ipvs-netlink", library),
    ];
    for (name, [create, list, change, delete, flush]) in contestants {
        println!("{name:<27} {create:>9.1} {list:>9.1} {change:>9.1} {delete:>9.1} {flush:>9.1}");
    }
    let (restored, looped) = (library[0] / ipvsadm[0], library[0] / bare[0]);
    let (third, near) = (restored <= 1.0 / 3.0, looped <= 1.3);
    row("creation / ipvsadm -R", &format!("{restored:.2}"), "≤ 0.33", third);
    row("creation / bare loop, 64 at once", &format!("{looped:.2}"), "≤ 1.30", near);
    assert!(third && near, "a target is missed");
}

fn vip(service: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + service), 53).into()
}

fn servers(service: u32) -> impl Iterator<Item = DestinationKey> {
    let address = move |number| Ipv4Addr::from(0x0b00_0000 + service * SERVERS + number);
    (0..SERVERS).map(move |number| DestinationKey((address(number), 5300).into()))
}

fn creation() -> impl Iterator<Item = Request<()>> {
    (0..SERVICES).flat_map(|service| {
        let key = ServiceKey::udp(vip(service));
        let flags = Flags::exactly(Flags::ONE_PACKET);
        let config =
            ServiceConfig { flags, ..ServiceConfig::new("wrr".parse().expect("a name"), key.family()) };
        let weight = DestinationConfig::new(Forward::Masquerade, 1);
        let add = move |server| request::add_destination(&key, &server, &weight);
        [request::add_service(&key, &config).expect("a netmask of its family")]
            .into_iter()
            .chain(servers(service).map(add))
    })
}

fn change() -> impl Iterator<Item = Request<()>> {
    let weight = DestinationConfig::new(Forward::Masquerade, 7);
    (0..SERVICES).flat_map(move |service| {
        servers(service)
            .map(move |server| request::set_destination(&ServiceKey::udp(vip(service)), &server, &weight))
    })
}

fn deletion() -> impl Iterator<Item = Request<()>> {
    (0..SERVICES).map(|service| request::delete_service(&ServiceKey::udp(vip(service))))
}

/// What `work` takes, by the machine's clock: on its one processor nothing else is done.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed().as_secs_f64() * 1000.0)
}

fn library() -> Costs {
    let client = &mut Client::connect().expect("IPVS");
    let create = send(client, creation());
    let (found, list) = timed(|| {
        let services = client.list_services().expect("services");
        let servers = |service: &Service| client.list_destinations(&service.key).expect("servers").len();
        services.iter().map(servers).sum::<usize>()
    });
    assert_eq!(found, (SERVICES * SERVERS) as usize);
    let change = send(client, change());
    let delete = send(client, deletion());
    send(client, creation());
    let (result, flush) = timed(|| client.flush());
    result.expect("a flush");
    [create, list, change, delete, flush]
}

fn send(client: &mut Client, requests: impl Iterator<Item = Request<()>>) -> f64 {
    let (results, time) = timed(|| client.send_all(requests));
    results.into_iter().for_each(|result| result.expect("a change"));
    time
}

fn bare(window: usize) -> Costs {
    let bare = Bare::open();
    // The preparation is not timed.
    let changes = |requests: &mut dyn Iterator<Item = Request<()>>| {
        let requests: Vec<_> = requests.collect();
        let prepared: Vec<_> = requests.chunks(window).map(|requests| bare.prepare(requests)).collect();
        timed(|| prepared.iter().for_each(|requests| bare.change(requests))).1
    };
    let create = changes(&mut creation());
    let lists = (0..SERVICES)
        .map(|service| bare.prepare(&[request::list_destinations(&ServiceKey::udp(vip(service)))]));
    let lists: Vec<_> = [bare.prepare(&[request::list_services()])].into_iter().chain(lists).collect();
    let ((), list) = timed(|| lists.iter().for_each(|list| bare.dump(list)));
    let change = changes(&mut change());
    let delete = changes(&mut deletion());
    changes(&mut creation());
    let flush = changes(&mut [request::flush()].into_iter());
    [create, list, change, delete, flush]
}

fn ipvsadm() -> Costs {
    let lines = |each: &dyn Fn(u32) -> String| (0..SERVICES).map(each).collect::<String>();
    let real = |verb: &str, service, weight| {
        let line = |server| format!("{verb} -u {} -r {server} -m -w {weight}\n", vip(service));
        servers(service).map(line).collect::<String>()
    };
    let create = lines(&|service| format!("-A -u {} -s wrr -o\n{}", vip(service), real("-a", service, 1)));
    let change = lines(&|service| real("-e", service, 7));
    let delete = lines(&|service| format!("-D -u {}\n", vip(service)));
    let create_cost = run(&["-R"], &create);
    let list = run(&["-S", "-n"], "");
    let change = run(&["-R"], &change);
    let delete = run(&["-R"], &delete);
    run(&["-R"], &create);
    [create_cost, list, change, delete, run(&["-C"], "")]
}

fn run(arguments: &[&str], input: &str) -> f64 {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), input).expect("commands");
    let mut command = Command::new("ipvsadm");
    command.args(arguments).stdin(File::open(file.path()).expect("commands"));
    let (output, time) = timed(|| command.output().expect("ipvsadm"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "ipvsadm {arguments:?}: {error}");
    time
}
