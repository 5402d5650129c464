//! `icmp` checks in a network of their own.

use std::process::Command;

use super::network::namespace;
use super::*;

fn run(commands: &str) {
    let status = Command::new("sh").args(["-ec", commands]).status().expect("a shell");
    assert!(status.success(), "{commands}");
}

fn ping(id: u32, address: &str) -> Target {
    target(id, format!("{address}:0").parse().expect("an address"), false, Probe::Icmp)
}

/// What was heard of each target, in order.
fn heard(verdicts: &mut UnboundedReceiver<Verdict>, count: usize) -> HashMap<u32, Vec<(bool, String)>> {
    let mut heard: HashMap<u32, Vec<_>> = HashMap::new();
    for _ in 0..count {
        let verdict = next(verdicts);
        heard.entry(verdict.target.0).or_default().push((verdict.up, verdict.reason.into_owned()));
    }
    heard
}

#[test]
fn hosts_are_told_apart_by_their_replies() {
    if !namespace(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip link set lo up
         ip address add 192.0.2.1/24 dev v0; ip address add 127.0.0.2/8 dev lo
         ip address add 127.0.0.3/8 dev lo; ip address add 127.0.0.4/8 dev lo
         nft 'table inet t { chain i {
             type filter hook input priority 0
             ip daddr 127.0.0.2 icmp type echo-request drop
             ip daddr 127.0.0.3 icmp type echo-request reject with icmpx admin-prohibited
         }; chain o {
             type filter hook output priority 0
             ip daddr 127.0.0.4 icmp type echo-request drop
         }; }'",
    ) {
        return;
    }
    let targets = vec![
        ping(0, "127.0.0.1"),
        ping(1, "[::1]"),
        hasty(ping(2, "127.0.0.2")),
        ping(3, "127.0.0.3"),
        ping(4, "127.0.0.4"),
        ping(5, "192.0.2.9"),
        ping(6, "198.51.100.1"),
        // The same server under other settings: its replies are not taken for those of the first one.
        with(ping(7, "127.0.0.1"), |check| check.rise = 1),
    ];
    let expected = [
        (true, "first answer"),
        (true, "first answer"),
        (false, "no answer within 40ms"),
        (false, "administratively prohibited (ICMP)"),
        (false, "the probe cannot be sent: Operation not permitted (a firewall rule on the director?)"),
        (false, "host unreachable (ICMP)"),
        (false, "the probe cannot be sent: Network is unreachable"),
        (true, "first answer"),
    ];
    let (_checker, mut verdicts) = engine(targets);
    let heard = heard(&mut verdicts, expected.len());
    for (id, (up, reason)) in (0..).zip(expected) {
        assert_eq!(heard[&id], [(up, reason.to_owned())], "{id}");
    }
    // One that dies and comes back.
    run("nft add rule inet t i ip6 daddr ::1 icmpv6 type echo-request reject");
    assert_eq!(next(&mut verdicts), verdict(1, false, "refused (ICMP port unreachable), 3 in a row"));
    run("nft flush chain inet t i");
    let mut back = [next(&mut verdicts), next(&mut verdicts), next(&mut verdicts)];
    back.sort_by_key(|verdict| verdict.target);
    assert_eq!(back[0], verdict(1, true, "answered, 2 in a row"));
    assert_eq!(back[1], verdict(2, true, "first answer"));
    assert_eq!(back[2], verdict(3, true, "first answer"));
}

#[test]
fn a_thousand_hosts_share_one_socket() {
    if !namespace("ip link set lo up") {
        return;
    }
    const HOSTS: u32 = 1000;
    let calm = |id: u32| calm(ping(id, &format!("127.0.{}.{}", id / 250, id % 250 + 1)));
    let (checker, mut verdicts) = engine((0..HOSTS).map(calm).collect());
    let heard = heard(&mut verdicts, HOSTS as usize);
    assert!(heard.values().all(|said| said == &[(true, "first answer".to_owned())]));
    let raw = std::fs::read_to_string("/proc/thread-self/net/raw").expect("the raw sockets");
    assert_eq!(raw.lines().count(), 2, "a heading and one socket:\n{raw}");
    drop(checker);
}
