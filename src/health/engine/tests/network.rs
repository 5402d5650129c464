//! Errors that only a network of one's own gives: an unreachable host, a firewall, missing routes.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs `commands` (by `sh`) in a new network namespace of this thread; false, said, where the user may not have one.
pub fn namespace(commands: &str) -> bool {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        println!("skipped: no network namespace: {error}");
        return false;
    }
    // A child has the namespace of the thread that spawns it.
    let status = Command::new("sh").args(["-ec", commands]).status().expect("a shell");
    assert!(status.success(), "{commands}");
    true
}

#[test]
fn errors_of_the_network_are_told_apart() {
    if !namespace(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip link set lo up
         ip address add 192.0.2.1/24 dev v0; ip address add 2001:db8::1/64 dev v0 nodad
         ip route add prohibit 198.51.100.0/24
         nft 'table inet t { chain o {
             type filter hook output priority 0
             udp dport 7 drop
         }; chain i {
             type filter hook input priority 0
             udp dport 8 reject
             udp dport 9 reject with icmpx admin-prohibited
             udp dport 10 reject with icmpx no-route
         }; }'",
    ) {
        return;
    }
    let silent = || Probe::Udp { send: b"log".to_vec(), reply: Reply::Optional };
    // The kernel makes only so many ICMP errors at a time (net.ipv4.icmp_msgs_burst), here for all of these.
    let seldom = |target| with(target, |check| (check.interval, check.retry_interval) = (ms(500), ms(500)));
    let place = |text: &str| text.parse().expect("an address");
    let targets = vec![
        seldom(hasty(target(0, place("192.0.2.2:53"), true, silent()))),
        seldom(hasty(target(1, place("[2001:db8::2]:53"), true, silent()))),
        seldom(target(2, place("192.0.2.3:53"), true, pong())),
        target(3, place("192.0.2.2:7"), true, pong()),
        target(4, place("127.0.0.1:8"), true, pong()),
        target(5, place("127.0.0.1:9"), true, pong()),
        target(6, place("[::1]:10"), true, pong()),
        target(7, place("100.64.0.1:53"), true, pong()),
        target(8, place("198.51.100.1:53"), true, pong()),
    ];
    let expected = [
        "host unreachable (ICMP)",
        "host unreachable (ICMP)",
        "host unreachable (ICMP)",
        "the probe cannot be sent: Operation not permitted (a firewall rule on the director?)",
        "refused (ICMP port unreachable)",
        "administratively prohibited (ICMP)",
        "network unreachable (ICMP)",
        "the probe cannot be sent: Network is unreachable",
        "the probe cannot be sent: Permission denied",
    ];
    let (_checker, mut verdicts) = engine(targets);
    let mut downs = HashMap::new();
    while downs.len() < expected.len() {
        let verdict = next(&mut verdicts);
        if !verdict.up {
            downs.insert(verdict.target.0, verdict.reason.into_owned());
        }
    }
    for (id, expected) in (0..).zip(expected) {
        assert!(downs[&id].starts_with(expected), "{id}: {} instead of {expected}", downs[&id]);
    }
    assert!(verdicts.try_recv().is_err(), "none came back");
}
