//! Random keepalived.conf files whose servers can be alive in the lab, each a plain function of its seed.
//!
//! Servers are in 10.0.0.0/8 and fd00::/16, dead ones in 10.99.0.0/16 and fd00:99::/32; on TCP port 9000 and on each UDP port is
//! somebody who answers, on port 9 nobody.

use std::fmt::Write;

use super::sample::Random;

/// A file with one to three virtual servers.
pub fn living(seed: u64) -> String {
    let mut random = Random(seed ^ 0x11f1);
    let mut out = String::new();
    for number in 1..=1 + random.below(3) {
        virtual_server(&mut random, &mut out, number);
    }
    out
}

fn virtual_server(random: &mut Random, out: &mut String, number: usize) {
    let v6 = random.once_in(4);
    let method = random.of(&["NAT", "NAT", "DR", "TUN", "TUN type gue port 5555", "TUN type gre csum"]);
    let protocol = random.of(&["UDP", "UDP", "UDP", "TCP"]);
    let scheduler =
        random.of(&["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "lblc", "fo", "ovf"]);
    let port = random.of(&[53, 514, 1812, 5060]);
    let vip = if v6 { format!("2001:db8::{number}") } else { format!("192.0.2.{number}") };
    let marked = random.once_in(6);
    // A reply under NAT cannot tell the VIP of a group or a mark.
    let (marked, grouped) = (marked && method != "NAT", !marked && method != "NAT" && random.once_in(3));
    let head = if marked {
        format!("fwmark {number}")
    } else if grouped {
        let _ = writeln!(
            out,
            "virtual_server_group group_{number} {{\n  {vip} {port}\n  {vip}0-1{number} {port}\n}}"
        );
        format!("group group_{number}")
    } else {
        format!("{vip} {port}")
    };
    let _ = writeln!(
        out,
        "virtual_server {head} {{\n  delay_loop 1\n  warmup 0\n  lvs_sched {scheduler}\n  lvs_method {method}"
    );
    let mut say = |random: &mut Random, times: usize, text: &str| {
        if random.once_in(times) {
            let _ = writeln!(out, "  {text}");
        }
    };
    if marked && v6 {
        say(random, 1, "ip_family inet6");
    }
    if matches!(scheduler, "sh" | "mh") {
        say(random, 2, &format!("{scheduler}-port"));
        say(random, 2, &format!("{scheduler}-fallback"));
    }
    if !marked {
        say(random, 1, &format!("protocol {protocol}"));
    }
    let persistent = random.once_in(5);
    if persistent {
        say(random, 1, "persistence_timeout 50");
        say(
            random,
            2,
            if v6 { "persistence_granularity 64" } else { "persistence_granularity 255.255.255.0" },
        );
    } else if protocol == "UDP" {
        say(random, 2, "ops");
    }
    say(random, 4, "alpha");
    say(random, 4, "omega");
    say(random, 3, "inhibit_on_failure");
    say(random, 4, "quorum 2");
    say(random, 4, "quorum_up \"/bin/true up\"");
    say(random, 4, "retry 1\n  delay_before_retry 0.5");
    let net = |third: usize| if v6 { format!("fd00:{third}::") } else { format!("10.{third}.0.") };
    let own = if marked { String::new() } else { format!(" {port}") };
    if !marked && random.once_in(3) {
        say(random, 1, &format!("sorry_server {}9{own}", net(number)));
        say(random, 2, "sorry_server_inhibit");
    }
    for server in 1..3 + random.below(3) {
        let dead = random.once_in(3);
        let own = match own.as_str() {
            "" => "",
            _ if method == "NAT" => random.of(&[" 5300", " 1812"]),
            own => own,
        };
        let address = format!("{}{server}", net(if dead { 99 } else { number }));
        let _ = writeln!(out, "  real_server {address}{own} {{\n    weight {}", random.of(&[1, 1, 3, 10]));
        for line in ["uthreshold 1000", "uthreshold 900\n    lthreshold 500", "inhibit_on_failure"] {
            if random.once_in(6) {
                let _ = writeln!(out, "    {line}");
            }
        }
        for _ in 0..1 + random.below(2) {
            check(random, out, v6, dead);
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
}

fn check(random: &mut Random, out: &mut String, v6: bool, dead: bool) {
    let kind = random.of(&["TCP_CHECK", "PING_CHECK", "MISC_CHECK", "HTTP_GET", "UDP_CHECK", "DNS_CHECK"]);
    // With IPv6 only a connection answers from where it was asked.
    let kind = if v6 && matches!(kind, "UDP_CHECK" | "DNS_CHECK") { "TCP_CHECK" } else { kind };
    let lines = match kind {
        "TCP_CHECK" => "connect_port 9000;connect_timeout 2",
        "MISC_CHECK" if dead => "misc_path /bin/false",
        "MISC_CHECK" => "misc_path /bin/true",
        "HTTP_GET" => {
            "connect_port 9000;connect_timeout 2;delay_before_retry 1;url {;path /;status_code 200;}"
        }
        "UDP_CHECK" => random.of(&[
            "connect_port 5300;connect_timeout 2",
            "connect_port 5300;connect_timeout 2;require_reply",
            "connect_port 5300;connect_timeout 2;payload 6162;require_reply 6X",
        ]),
        "DNS_CHECK" => "connect_port 53;connect_timeout 2;delay_before_retry 1;type A;name example.org",
        _ => "connect_timeout 2",
    };
    let _ = writeln!(out, "    {kind} {{\n      {}\n    }}", lines.replace(';', "\n      "));
}
