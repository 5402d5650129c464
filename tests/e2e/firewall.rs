//! A director with a firewall: what it drops is said at start, and the cure that is printed there is the whole cure.

use std::time::Duration;

use lab::{Burst, Daemon, Echo, Family, Netns, Network, Side, case, reading, wait_until};
use libtest_mimic::Trial;

use crate::setup::{
    LIMIT, PATIENT, assert_no_trace, assert_spread, config, echoes, ipvsd, servers, service,
    wait_until_all_up,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("firewall::nftables_input_and_forward", nftables),
        case("firewall::nftables_with_a_dropping_output", nftables_output),
        case("firewall::iptables", iptables),
        case("firewall::the_rules_of_the_readme", readme),
    ]
}

/// Lets in and through what is established and nothing else; without neighbour discovery there is no IPv6.
const DROPPING: &str = "
    table inet filter {
        chain input {
            type filter hook input priority filter; policy drop
            ct state established,related accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        }
        chain forward {
            type filter hook forward priority filter; policy drop
            ct state established,related accept
        }
    }";

/// Lets out what is established, and the director's own probes.
const DROPPING_OUTPUT: &str = "
    table inet filter {
        chain output {
            type filter hook output priority filter; policy drop
            ct state established,related accept
            ct state new udp dport 5300 accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        }
    }";

/// The same as [`DROPPING`].
const IPTABLES: &str = "
    iptables -P INPUT DROP
    iptables -P FORWARD DROP
    iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    ip6tables -P INPUT DROP
    ip6tables -P FORWARD DROP
    ip6tables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
    ip6tables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

/// One service at both VIPs, up behind the firewall that the network has: the probes get through without any cure. Servers
/// that were up before the rules were there, and then seem dead, lose their weight.
fn up(network: &Network) -> (Vec<Echo>, Daemon) {
    let echoes = echoes(network, 5300);
    let [four, six] = Family::BOTH.map(|family| servers(network, family, 5300));
    let daemon = ipvsd(
        network,
        &format!(
            "[[service]]\nname = \"echo\"\nlisten = [\"{}\", \"{}\"]\nservers = [{four}, {six}]\ncheck = {PATIENT}\nwhen_all_down = \"refuse\"\n",
            service(Family::V4),
            service(Family::V6)
        ),
    );
    wait_until_all_up(network, 2);
    (echoes, daemon)
}

/// The commands that ipvsd printed at start. Verdicts come later than the warnings: they are all there.
fn cures(daemon: &Daemon) -> Vec<String> {
    let command =
        |line: &String| ["nft ", "iptables ", "ip6tables "].iter().any(|tool| line.starts_with(tool));
    daemon.lines().into_iter().filter(command).collect()
}

fn run(netns: &Netns, commands: &[String]) {
    commands.iter().for_each(|command| _ = netns.check("sh", &["-c", command]));
}

/// Three requests to each VIP, all lost; how many of them the servers got.
fn lost(network: &Network, echoes: &mut [Echo]) -> usize {
    for family in Family::BOTH {
        let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(service(family), 3) };
        let answered = burst.run(network.client());
        assert_eq!(answered.lost, [0, 1, 2], "{family:?}: {answered:?}");
    }
    let clients = Family::BOTH.map(|family| network.client_address(0, family));
    let of_client =
        |echo: &mut Echo| echo.received().iter().filter(|got| clients.contains(&got.from.ip())).count();
    echoes.iter_mut().map(of_client).sum()
}

/// 300 datagrams of one port to each VIP, all answered, and nothing of them is tracked. The probes work all the time.
fn everything_passes(network: &Network, echoes: &mut [Echo]) {
    for family in Family::BOTH {
        assert_spread(network, &Burst::new(service(family), 300), &[100, 100, 100]);
    }
    assert_no_trace(network);
    for family in Family::BOTH {
        let director = network.director_address(Side::Back, family);
        // More than it takes to find a server dead.
        let probed =
            |echo: &mut Echo| echo.received().iter().filter(|got| got.from.ip() == director).count() >= 8;
        wait_until(LIMIT, "8 probes of each server", || echoes.iter_mut().all(probed));
    }
    let up = |service: reading::Service| service.servers.iter().all(|server| server.weight == 1);
    assert!(reading::services(&network.director).into_iter().all(up), "the probes still work");
}

fn nftables() {
    let network = Network::new(3);
    network.director.nft(DROPPING);
    let (mut echoes, daemon) = up(&network);
    for chain in ["chain input of table inet filter", "chain forward of table inet filter"] {
        let line = daemon.wait_for(chain, LIMIT);
        assert!(line.contains("WARN"), "{line}");
    }
    let cures = cures(&daemon);
    let (input, forward): (Vec<_>, Vec<_>) =
        cures.into_iter().partition(|command| command.contains("inet filter input"));
    assert_eq!((input.len(), forward.len()), (2, 2), "one for each family");
    assert_eq!(lost(&network, &mut echoes), 0, "the input chain drops requests");
    run(&network.director, &input);
    assert_eq!(lost(&network, &mut echoes), 6, "the forward chain drops replies");
    run(&network.director, &forward);
    everything_passes(&network, &mut echoes);
}

fn nftables_output() {
    let network = Network::new(3);
    network.director.nft(DROPPING);
    network.director.nft(DROPPING_OUTPUT);
    let (mut echoes, daemon) = up(&network);
    let line = daemon.wait_for("chain output of table inet filter", LIMIT);
    assert!(line.contains("WARN"), "{line}");
    let (output, others): (Vec<_>, Vec<_>) =
        cures(&daemon).into_iter().partition(|command| command.contains("inet filter output"));
    run(&network.director, &others);
    assert_eq!(lost(&network, &mut echoes), 0, "the output chain drops requests");
    run(&network.director, &output);
    everything_passes(&network, &mut echoes);
}

/// Word for word: the README's example has the addresses of this network.
fn readme() {
    let network = Network::new(2);
    network.director.nft(DROPPING);
    let _echoes = echoes(&network, 53);
    let check = format!("check = {PATIENT}\nwhen_all_down = \"refuse\"");
    let _daemon = ipvsd(&network, &config(&network, Family::V4, 53, &check));
    wait_until_all_up(&network, 1);
    let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(service(Family::V4), 3) };
    assert_eq!(burst.run(network.client()).lost, [0, 1, 2]);
    let rules: Vec<String> = include_str!("../../README.md")
        .lines()
        .filter(|line| line.starts_with("nft "))
        .map(str::to_owned)
        .collect();
    assert_eq!(rules.len(), 2, "{rules:?}");
    run(&network.director, &rules);
    assert_spread(&network, &Burst::new(service(Family::V4), 300), &[150, 150]);
    assert_no_trace(&network);
}

fn iptables() {
    let network = Network::new(3);
    let rules: Vec<String> =
        IPTABLES.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    run(&network.director, &rules);
    let (mut echoes, daemon) = up(&network);
    for chain in ["chain INPUT of table ip filter", "chain FORWARD of table ip6 filter"] {
        daemon.wait_for(chain, LIMIT);
    }
    assert_eq!(lost(&network, &mut echoes), 0);
    run(&network.director, &cures(&daemon));
    everything_passes(&network, &mut echoes);
}
