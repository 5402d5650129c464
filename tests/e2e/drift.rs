//! What somebody else changes in the kernel is seen, said and repaired within two seconds; what is somebody else's is
//! left as it is.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use lab::{Daemon, Echo, Family, Flow, Network, Packet, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{
    LIMIT, PATIENT, config, echoes, ipvsd, key, lost_by_schedulers, server, service, wait_for_weights,
};
use crate::traffic::{Traffic, longest_way, lost_between};

/// A repair takes at most this long, on a machine where to run nft takes no time.
const REPAIRED: Duration = Duration::from_secs(2);
/// For a repair of the rules nft is run so often, which on a busy emulated machine takes seconds.
const RUNS: u32 = 8;
/// To see a repair of IPVS it is read so often: once too early, and once more.
const READS: u32 = 2;

pub fn tests() -> Vec<Trial> {
    vec![
        case("drift::a_service_that_is_cleared_or_changed_is_repaired", services),
        case("drift::servers_that_are_changed_are_repaired_in_ipv6", || servers(Family::V6)),
        case("drift::reply_rules_that_are_flushed_or_changed_are_repaired", || rules(Family::V4)),
        case("drift::reply_rules_that_are_flushed_or_changed_are_repaired_in_ipv6", || rules(Family::V6)),
        case("drift::a_sysctl_that_breaks_it_is_set_back", sysctl),
        case("drift::what_drifts_again_and_again_is_left_alone", brake),
        case("drift::drift_may_only_be_reported", report),
    ]
}

struct Scene {
    family: Family,
    took: RefCell<Vec<Duration>>,
    network: Network,
    servers: Vec<Echo>,
    daemon: Daemon,
}

impl Scene {
    /// The service over three servers, all up, with more lines of its own.
    fn new(family: Family, more: &str) -> Scene {
        let network = Network::new(3);
        let servers = echoes(&network, 5300);
        let text = config(&network, family, 5300, &format!("check = {PATIENT}\ndrain = \"1s\"\n{more}"));
        let daemon = ipvsd(&network, &text);
        wait_for_weights(&network, family, &[1, 1, 1]);
        Scene { family, took: RefCell::default(), network, servers, daemon }
    }

    /// `ipvsadm` with these arguments; `VIP` stands for that of the service, `S0` for the first server.
    fn ipvsadm(&self, arguments: &str) {
        let arguments = self.named(arguments);
        self.network.director.check("ipvsadm", &arguments.split(' ').collect::<Vec<_>>());
    }

    fn named(&self, text: &str) -> String {
        let mut text = text.replace("VIP", &service(self.family).to_string());
        for number in 0..3 {
            text =
                text.replace(&format!("S{number}"), &server(&self.network, number, self.family).to_string());
        }
        text
    }

    fn traffic(&self) -> Traffic {
        Traffic::start_in(&self.network, self.family)
    }

    /// What the kernel has of the service, in ipvsadm's words, with the thresholds.
    fn held(&self) -> (Option<reading::Service>, String) {
        let services = reading::services(&self.network.director);
        let mut service = services.into_iter().find(|service| service.key == key(self.family));
        if let Some(service) = &mut service {
            service.servers.sort_by_key(|server| server.address);
        }
        let list = self.network.director.check("ipvsadm", &["-Ln", "--thresholds"]);
        let own = list.lines().skip_while(|line| !line.contains(&vip(self.family).to_string())).skip(1);
        let mut own: Vec<&str> = own.take_while(|line| line.trim_start().starts_with("->")).collect();
        own.sort();
        // Address, thresholds; then come the numbers of connections.
        let words = |line: &&str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ") + "\n";
        (service, own.iter().map(words).collect())
    }

    /// Waits until one line of the log has all of these.
    fn said(&self, parts: &[&str]) {
        let parts: Vec<String> = parts.iter().map(|part| self.named(part)).collect();
        wait_until(LIMIT, &format!("a line with {parts:?}"), || {
            self.daemon.lines().iter().any(|line| parts.iter().all(|part| line.contains(part.as_str())))
        });
    }

    /// Does `change`, and waits until the kernel is as it was and the log says what was found; from when to when.
    fn repaired(&self, change: &dyn Fn(), said: &[&str]) -> (Instant, Instant) {
        let before = self.held();
        let since = Instant::now();
        change();
        let changed = Instant::now();
        self.said(&[&["drift"], said].concat());
        wait_until(LIMIT, &format!("repair of {said:?}"), || self.held() == before);
        let until = Instant::now();
        self.took(&said.join(" "), until - changed);
        (since, until)
    }

    fn took(&self, what: &str, time: Duration) {
        println!("measured: {what} repaired after {} ms", time.as_millis());
        self.took.borrow_mut().push(time);
    }

    /// The repairs of IPVS were prompt.
    fn assert_prompt(&self) {
        let start = Instant::now();
        self.held();
        self.assert_within(REPAIRED + READS * start.elapsed());
    }

    /// The repairs of the rules were prompt.
    fn assert_rules_prompt(&self) {
        let start = Instant::now();
        self.network.director.check("nft", &["list", "ruleset"]);
        self.assert_within(REPAIRED + RUNS * start.elapsed());
    }

    /// Half of the repairs took no longer than this, and none twice as long: the machine may be busy besides.
    fn assert_within(&self, limit: Duration) {
        let mut took = self.took.take();
        took.sort();
        assert!(
            took[took.len() / 2] < limit && took[took.len() - 1] < 2 * limit,
            "{took:?}, limit {limit:?}"
        );
    }
}

/// A service and a table of somebody else.
fn foreign(network: &Network) -> (String, String) {
    let vip = format!("{}:99", vip(Family::V4));
    network.director.check("ipvsadm", &["-A", "-u", &vip, "-s", "sh"]);
    network.director.check("ipvsadm", &["-a", "-u", &vip, "-r", "10.0.1.12:99", "-m", "-w", "5"]);
    foreign_table(network);
    foreigners(network)
}

fn foreign_table(network: &Network) {
    network.director.nft(
        "table ip foreign { set s { type ipv4_addr; elements = { 10.0.1.11 }; }\nchain c { type filter hook \
         forward priority 0; ip saddr @s counter accept\n}\n}",
    );
}

fn foreigners(network: &Network) -> (String, String) {
    let services = network.director.check("ipvsadm", &["-Sn"]);
    let services = services.lines().filter(|line| line.contains(":99 ")).map(|line| format!("{line}\n"));
    (services.collect(), network.director.check("nft", &["-s", "list", "table", "ip", "foreign"]))
}

fn assert_nothing_lost_outside(flow: &Flow, repairs: &[(Instant, Instant)]) {
    // What was on its way when the change was made, or when the repair was seen, is of that change.
    let about = longest_way(flow);
    let within: usize =
        repairs.iter().map(|(since, until)| lost_between(flow, *since - about, *until + about)).sum();
    assert!(flow.answered.lost.len() <= within, "{} lost, {within} about changes", flow.answered.lost.len());
}

fn services() {
    let scene = Scene::new(Family::V4, "");
    let traffic = scene.traffic();
    traffic.calm();
    let cleared = scene.repaired(&|| scene.ipvsadm("-C"), &["the service is gone"]);
    traffic.replies(500);
    let before = foreign(&scene.network);
    let scheduler =
        scene.repaired(&|| scene.ipvsadm("-E -u VIP -s sh -o"), &["the service itself", "scheduler rr → sh"]);
    traffic.replies(500);
    assert_eq!(foreigners(&scene.network), before);
    let flow = traffic.stop("ipvsadm -C, ipvsadm -E to another scheduler");
    for (what, (since, until)) in [("-C", cleared), ("-E", scheduler)] {
        println!("measured: {} lost by ipvsadm {what}", lost_between(&flow, since, until));
    }
    assert_nothing_lost_outside(&flow, &[cleared, scheduler]);
    // One change by ipvsadm, and one by ipvsd.
    let lost = lost_between(&flow, scheduler.0, scheduler.1);
    assert!(lost <= lost_by_schedulers(&scene.network, 2), "{lost} lost");
    scene.assert_prompt();

    // Without OPS every client is pinned to a server by an entry, which outlives the return of OPS.
    let expire = scene.network.director.sysctl("net.ipv4.vs.expire_nodest_conn");
    let traffic = scene.traffic();
    traffic.calm();
    scene.repaired(&|| scene.ipvsadm("-E -u VIP -s rr"), &["the service itself", "OPS on → off"]);
    wait_until(LIMIT, "no entry", || reading::connections(&scene.network.director).is_empty());
    wait_for_weights(&scene.network, scene.family, &[1, 1, 1]);
    traffic.replies(500);
    let (flow, entries) = traffic.stop_pinned("the OPS flag taken by hand, and eviction");
    assert!(!entries.is_empty(), "nobody was pinned");
    assert_eq!(flow.answered.lost, [0; 0]);
    wait_until(LIMIT, "the sysctl as it was", || {
        scene.network.director.sysctl("net.ipv4.vs.expire_nodest_conn") == expire
    });
    let traffic = scene.traffic();
    traffic.replies(600);
    let spread = traffic.stop("after the eviction").answered.spread();
    assert!(spread.len() == 3 && spread.iter().all(|share| *share >= 190), "{spread:?}");
    assert_eq!(foreigners(&scene.network), before);
}

fn servers(family: Family) {
    let scene = Scene::new(family, "");
    let before = foreign(&scene.network);
    let traffic = scene.traffic();
    traffic.calm();
    scene.repaired(&|| scene.ipvsadm("-e -u VIP -r S0 -m -w 0"), &["S0", "weight 1 → 0", "ipvsd drain"]);
    scene.repaired(&|| scene.ipvsadm("-e -u VIP -r S1 -m -w 5"), &["S1", "weight 1 → 5"]);
    scene.repaired(&|| scene.ipvsadm("-d -u VIP -r S2"), &["S2", "the server is gone"]);
    scene.repaired(
        &|| scene.ipvsadm("-e -u VIP -r S1 -m -w 1 -x 9 -y 7"),
        &["S1", "upper threshold 0 → 9", "lower threshold 0 → 7"],
    );
    // It is drained before it goes: that takes longer. It has weight for a while, and nobody answers there.
    let since = Instant::now();
    let added = server(&scene.network, 66, family).to_string();
    scene.ipvsadm(&format!("-a -u VIP -r {added} -m -w 1"));
    let changed = Instant::now();
    scene.said(&["drift", &added, "the server was added"]);
    wait_for_weights(&scene.network, scene.family, &[1, 1, 1, 0]);
    let drained = Instant::now();
    scene.took("a server added by hand", drained - changed);
    scene.assert_prompt();
    wait_for_weights(&scene.network, scene.family, &[1, 1, 1]);
    traffic.replies(500);
    let flow = traffic.stop("weights, thresholds, a server deleted and one added by hand");
    assert_nothing_lost_outside(&flow, &[(since, drained)]);
    assert_eq!(foreigners(&scene.network), before);
}

fn rules(family: Family) {
    let scene = Scene::new(family, "");
    let network = &scene.network;
    let ip = if family == Family::V4 { "ip" } else { "ip6" };
    let rules = || network.director.check("nft", &["-s", "list", "table", ip, "ipvsd"]);
    let good = rules();
    let before = foreign(network);
    let traffic = scene.traffic();
    traffic.calm();
    let mut repairs = Vec::new();
    for change in [
        "flush ruleset",
        "delete table IP ipvsd",
        "delete element IP ipvsd sources { S1 . 5300 }",
        "flush chain IP ipvsd postrouting",
        "add table IP ipvsd { flags dormant; }",
    ] {
        let server = network.server_address(1, family).to_string();
        let change = change.replace("IP", ip).replace("S1", &server);
        let count = |what: &str| scene.daemon.lines().iter().filter(|line| line.contains(what)).count();
        let (said, changed) = (count("drift, repaired"), count("reply rules changed"));
        let since = Instant::now();
        network.director.nft(&change);
        // To ask nft all the time would slow down the repair.
        wait_until(LIMIT, &change, || count("reply rules changed") > changed);
        assert_eq!(rules(), good, "{change}");
        let until = Instant::now();
        scene.took(&format!("nft {change}"), until - since);
        repairs.push((since, until));
        assert!(count("drift, repaired") > said, "{change} is said");
        traffic.replies(300);
        if change == "flush ruleset" {
            let tables = network.director.check("nft", &["list", "tables"]);
            assert_eq!(tables.trim(), format!("table {ip} ipvsd"), "only its own comes back");
            foreign_table(network);
        }
    }
    scene.assert_rules_prompt();
    traffic.replies(500);
    assert_eq!((rules(), foreigners(network)), (good, before));
    let (flow, replies, entries) =
        traffic.stop_astray("nft flush ruleset, delete table, delete element, flush chain, a dormant table");
    assert_eq!(entries, Vec::<String>::new());
    let astray: Vec<&Packet> = replies.iter().filter(|packet| packet.source != service(family)).collect();
    println!("measured: {} replies from a server's own address meanwhile", astray.len());
    assert!(!astray.is_empty(), "without rules replies come from elsewhere");
    let wrong = flow.answered.replies.iter().filter(|reply| reply.source != service(family));
    let way = longest_way(&flow);
    let outside = wrong
        .filter(|reply| !repairs.iter().any(|(since, until)| (*since..*until + way).contains(&reply.at)));
    assert_eq!(outside.count(), 0, "replies from elsewhere while the rules were there");
    assert_nothing_lost_outside(&flow, &repairs);
}

fn sysctl() {
    let scene = Scene::new(Family::V4, "");
    let director = &scene.network.director;
    let traffic = scene.traffic();
    traffic.calm();
    let since = Instant::now();
    director.set_sysctl("net.ipv4.vs.nat_icmp_send", "1");
    wait_until(LIMIT, "the sysctl", || director.sysctl("net.ipv4.vs.nat_icmp_send") == "0");
    let until = Instant::now();
    scene.took("nat_icmp_send", until - since);
    scene.assert_prompt();
    scene.said(&["sysctl set", "net.ipv4.vs.nat_icmp_send", "old=\"1\"", "new=\"0\""]);
    traffic.replies(500);
    let flow = traffic.stop("nat_icmp_send=1 while it ran");
    assert_nothing_lost_outside(&flow, &[(since, until)]);
}

fn brake() {
    let scene = Scene::new(Family::V4, "");
    let traffic = scene.traffic();
    traffic.calm();
    let change = || scene.ipvsadm("-e -u VIP -r S1 -m -w 5");
    for _ in 0..3 {
        scene.repaired(&change, &["S1", "weight 1 → 5"]);
    }
    change();
    scene.said(&["drift again and again: another program manages this", "S1"]);
    // Others are still repaired, and a thing that drifts again meanwhile is not.
    scene.ipvsadm("-e -u VIP -r S1 -m -w 6");
    scene.ipvsadm("-e -u VIP -r S0 -m -w 5");
    wait_for_weights(&scene.network, scene.family, &[1, 6, 1]);
    traffic.replies(2500);
    wait_for_weights(&scene.network, scene.family, &[1, 6, 1]);
    let lines = scene.daemon.lines();
    let again = lines.iter().filter(|line| line.contains("drift again and again")).count();
    assert_eq!(again, 1, "it is said once");
    scene.assert_prompt();
    assert_eq!(traffic.stop("what drifts again and again").answered.lost, [0; 0]);
}

fn report() {
    let mut scene = Scene::new(Family::V6, "drift = \"report\"");
    let traffic = scene.traffic();
    traffic.calm();
    scene.ipvsadm("-e -u VIP -r S1 -m -w 5");
    scene.said(&["drift, only reported", "S1", "weight 1 → 5"]);
    traffic.replies(2500);
    assert_eq!(traffic.watch.states().last(), Some(&vec![1, 5, 1]));
    let lines = scene.daemon.lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains("drift, only reported")).count(),
        1,
        "it is said once"
    );
    assert_eq!(traffic.stop("drift only reported").answered.lost, [0; 0]);
    // What is only reported dies like any other.
    scene.servers[1].kill();
    wait_for_weights(&scene.network, scene.family, &[1, 0, 1]);
    scene.ipvsadm("-d -u VIP -r S0");
    scene.said(&["drift, only reported", "S0", "the server is gone"]);
    wait_for_weights(&scene.network, scene.family, &[0, 1]);
    scene.daemon.signal(Signal::SIGHUP);
    wait_for_weights(&scene.network, scene.family, &[1, 0, 1]);
}
