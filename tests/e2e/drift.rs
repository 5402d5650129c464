//! What somebody else changes in the kernel is seen, said and repaired within two seconds; what is somebody else's is
//! left as it is.

use std::time::{Duration, Instant};

use lab::{Daemon, Echo, Family, Flow, Network, Packet, case, reading, vip, wait_until};
use libtest_mimic::Trial;

use crate::setup::{LIMIT, PATIENT, config, echoes, ipvsd, key, service, wait_for_weights};
use crate::traffic::{Traffic, lost_between, measured};

const FAMILY: Family = Family::V4;

/// A repair takes at most 2 s; the rest is for a slow guest, which has to run ipvsadm or nft to see it.
const REPAIRED: Duration = Duration::from_millis(3500);

pub fn tests() -> Vec<Trial> {
    vec![
        case("drift::a_service_that_is_cleared_or_changed_is_repaired", services),
        case("drift::servers_that_are_changed_are_repaired", servers),
        case("drift::reply_rules_that_are_flushed_or_changed_are_repaired", rules),
        case("drift::a_sysctl_that_breaks_it_is_set_back", sysctl),
        case("drift::what_drifts_again_and_again_is_left_alone", brake),
        case("drift::drift_may_only_be_reported", report),
    ]
}

struct Scene {
    network: Network,
    _servers: Vec<Echo>,
    daemon: Daemon,
}

impl Scene {
    /// The service over three servers, all up, with more lines of its own.
    fn new(more: &str) -> Scene {
        let network = Network::new(3);
        let servers = echoes(&network, 5300);
        let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"1s\"\n{more}"));
        let daemon = ipvsd(&network, &text);
        wait_for_weights(&network, FAMILY, &[1, 1, 1]);
        Scene { network, _servers: servers, daemon }
    }

    /// `ipvsadm` with these arguments; `VIP` stands for that of the service.
    fn ipvsadm(&self, arguments: &str) {
        let arguments = arguments.replace("VIP", &service(FAMILY).to_string());
        self.network.director.check("ipvsadm", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// What the kernel has of the service, in ipvsadm's words, with the thresholds.
    fn held(&self) -> (Option<reading::Service>, String) {
        let services = reading::services(&self.network.director);
        let mut service = services.into_iter().find(|service| service.key == key(FAMILY));
        if let Some(service) = &mut service {
            service.servers.sort_by_key(|server| server.address);
        }
        let list = self.network.director.check("ipvsadm", &["-Ln", "--thresholds"]);
        let own = list.lines().skip_while(|line| !line.contains(&lab::vip(FAMILY).to_string())).skip(1);
        let mut own: Vec<&str> = own.take_while(|line| line.trim_start().starts_with("->")).collect();
        own.sort();
        // Address, thresholds; then come the numbers of connections.
        let words = |line: &&str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ") + "\n";
        (service, own.iter().map(words).collect())
    }

    /// Waits until one line of the log has all of these.
    fn said(&self, parts: &[&str]) {
        wait_until(LIMIT, &format!("a line with {parts:?}"), || {
            self.daemon.lines().iter().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    /// Does `change`, and waits until the kernel is as it was and the log says what was found; from when to when.
    fn repaired(&self, change: &dyn Fn(), said: &[&str]) -> (Instant, Instant) {
        let before = self.held();
        let since = Instant::now();
        change();
        self.said(&[&["drift"], said].concat());
        wait_until(LIMIT, &format!("repair of {said:?}"), || self.held() == before);
        let until = Instant::now();
        println!("measured: {} repaired after {} ms", said.join(" "), (until - since).as_millis());
        assert!(until - since < REPAIRED, "{:?} for {said:?}", until - since);
        (since, until)
    }
}

/// A service and a table of somebody else.
fn foreign(network: &Network) -> (String, String) {
    let vip = format!("{}:99", vip(FAMILY));
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
    let about = Duration::from_millis(100);
    let within: usize =
        repairs.iter().map(|(since, until)| lost_between(flow, *since - about, *until + about)).sum();
    assert!(flow.answered.lost.len() <= within, "{} lost, {within} about changes", flow.answered.lost.len());
}

fn services() {
    let scene = Scene::new("");
    let traffic = Traffic::start(&scene.network);
    traffic.replies(500);
    let cleared = scene.repaired(&|| scene.ipvsadm("-C"), &["the service is gone"]);
    traffic.replies(500);
    let before = foreign(&scene.network);
    let scheduler =
        scene.repaired(&|| scene.ipvsadm("-E -u VIP -s sh -o"), &["the service itself", "scheduler rr → sh"]);
    traffic.replies(500);
    assert_eq!(foreigners(&scene.network), before);
    let flow = traffic.stop();
    measured("ipvsadm -C, ipvsadm -E to another scheduler", &flow);
    for (what, (since, until)) in [("-C", cleared), ("-E", scheduler)] {
        println!("measured: {} lost by ipvsadm {what}", lost_between(&flow, since, until));
    }
    assert_nothing_lost_outside(&flow, &[cleared, scheduler]);
    assert!(lost_between(&flow, scheduler.0, scheduler.1) <= 300, "two changes of a scheduler");

    // Without OPS every client is pinned to a server by an entry, which outlives the return of OPS.
    let expire = scene.network.director.sysctl("net.ipv4.vs.expire_nodest_conn");
    let traffic = Traffic::start(&scene.network);
    traffic.replies(500);
    scene.repaired(&|| scene.ipvsadm("-E -u VIP -s rr"), &["the service itself", "OPS on → off"]);
    wait_until(LIMIT, "no entry", || reading::connections(&scene.network.director).is_empty());
    wait_for_weights(&scene.network, FAMILY, &[1, 1, 1]);
    traffic.replies(500);
    let (flow, entries) = traffic.stop_pinned();
    measured("the OPS flag taken by hand, and eviction", &flow);
    assert!(!entries.is_empty(), "nobody was pinned");
    assert_eq!(flow.answered.lost, [0; 0]);
    wait_until(LIMIT, "the sysctl as it was", || {
        scene.network.director.sysctl("net.ipv4.vs.expire_nodest_conn") == expire
    });
    let traffic = Traffic::start(&scene.network);
    traffic.replies(600);
    let spread = traffic.stop().answered.spread();
    assert!(spread.len() == 3 && spread.iter().all(|share| *share >= 190), "{spread:?}");
    assert_eq!(foreigners(&scene.network), before);
}

fn servers() {
    let scene = Scene::new("");
    let before = foreign(&scene.network);
    let traffic = Traffic::start(&scene.network);
    traffic.replies(300);
    scene.repaired(
        &|| scene.ipvsadm("-e -u VIP -r 10.0.1.11:5300 -m -w 0"),
        &["10.0.1.11:5300", "weight 1 → 0", "ipvsd drain"],
    );
    scene.repaired(
        &|| scene.ipvsadm("-e -u VIP -r 10.0.1.12:5300 -m -w 5"),
        &["10.0.1.12:5300", "weight 1 → 5"],
    );
    scene.repaired(
        &|| scene.ipvsadm("-d -u VIP -r 10.0.1.13:5300"),
        &["10.0.1.13:5300", "the server is gone"],
    );
    scene.repaired(
        &|| scene.ipvsadm("-e -u VIP -r 10.0.1.12:5300 -m -w 1 -x 9 -y 7"),
        &["10.0.1.12:5300", "upper threshold 0 → 9", "lower threshold 0 → 7"],
    );
    // It is drained before it goes: that takes longer. It has weight for a while, and nobody answers there.
    let since = Instant::now();
    scene.ipvsadm("-a -u VIP -r 10.0.1.77:5300 -m -w 1");
    scene.said(&["drift", "10.0.1.77:5300", "the server was added"]);
    wait_for_weights(&scene.network, FAMILY, &[1, 1, 1, 0]);
    let drained = Instant::now();
    assert!(drained - since < REPAIRED, "{:?}", drained - since);
    wait_for_weights(&scene.network, FAMILY, &[1, 1, 1]);
    traffic.replies(500);
    let flow = traffic.stop();
    measured("weights, thresholds, a server deleted and one added by hand", &flow);
    assert_nothing_lost_outside(&flow, &[(since, drained)]);
    assert_eq!(foreigners(&scene.network), before);
}

fn rules() {
    let scene = Scene::new("");
    let network = &scene.network;
    let rules = || network.director.check("nft", &["-s", "list", "table", "ip", "ipvsd"]);
    let good = rules();
    let before = foreign(network);
    let traffic = Traffic::start(network);
    traffic.replies(300);
    let mut repairs = Vec::new();
    for change in [
        "flush ruleset",
        "delete table ip ipvsd",
        "delete element ip ipvsd rewrite { 10.0.1.12 . 5300 }",
        "flush chain ip ipvsd postrouting",
    ] {
        let count = |what: &str| scene.daemon.lines().iter().filter(|line| line.contains(what)).count();
        let (said, changed) = (count("drift, repaired"), count("reply rules changed"));
        let since = Instant::now();
        network.director.nft(change);
        // To ask nft all the time would slow down the repair.
        wait_until(LIMIT, change, || count("reply rules changed") > changed);
        assert_eq!(rules(), good, "{change}");
        let until = Instant::now();
        println!("measured: nft {change} repaired after {} ms", (until - since).as_millis());
        assert!(until - since < REPAIRED, "{change}: {:?}", until - since);
        repairs.push((since, until));
        assert!(count("drift, repaired") > said, "{change} is said");
        traffic.replies(300);
        if change == "flush ruleset" {
            let tables = network.director.check("nft", &["list", "tables"]);
            assert_eq!(tables.trim(), "table ip ipvsd", "only its own comes back");
            foreign_table(network);
        }
    }
    traffic.replies(500);
    assert_eq!((rules(), foreigners(network)), (good, before));
    let (flow, replies, entries) = traffic.stop_astray();
    assert_eq!(entries, Vec::<String>::new());
    let astray: Vec<&Packet> = replies.iter().filter(|packet| packet.source != service(FAMILY)).collect();
    measured("nft flush ruleset, delete table, delete element, flush chain", &flow);
    println!("measured: {} replies from a server's own address meanwhile", astray.len());
    assert!(!astray.is_empty(), "without rules replies come from elsewhere");
    let wrong = flow.answered.replies.iter().filter(|reply| reply.source != service(FAMILY));
    let outside =
        wrong.filter(|reply| !repairs.iter().any(|(since, until)| (*since..*until).contains(&reply.at)));
    assert_eq!(outside.count(), 0, "replies from elsewhere while the rules were there");
    assert_nothing_lost_outside(&flow, &repairs);
}

fn sysctl() {
    let scene = Scene::new("");
    let director = &scene.network.director;
    let traffic = Traffic::start(&scene.network);
    traffic.replies(300);
    let since = Instant::now();
    director.set_sysctl("net.ipv4.vs.nat_icmp_send", "1");
    wait_until(LIMIT, "the sysctl", || director.sysctl("net.ipv4.vs.nat_icmp_send") == "0");
    let until = Instant::now();
    println!("measured: nat_icmp_send set back after {} ms", (until - since).as_millis());
    assert!(until - since < REPAIRED);
    scene.said(&["sysctl set", "net.ipv4.vs.nat_icmp_send", "old=\"1\"", "new=\"0\""]);
    traffic.replies(500);
    let flow = traffic.stop();
    measured("nat_icmp_send=1 while it ran", &flow);
    assert_nothing_lost_outside(&flow, &[(since, until)]);
}

fn brake() {
    let scene = Scene::new("");
    let traffic = Traffic::start(&scene.network);
    let change = || scene.ipvsadm("-e -u VIP -r 10.0.1.12:5300 -m -w 5");
    for _ in 0..3 {
        scene.repaired(&change, &["10.0.1.12:5300", "weight 1 → 5"]);
    }
    change();
    scene.said(&["drift again and again: another program manages this", "10.0.1.12:5300"]);
    // Others are still repaired, and a thing that drifts again meanwhile is not.
    scene.ipvsadm("-e -u VIP -r 10.0.1.12:5300 -m -w 6");
    scene.ipvsadm("-e -u VIP -r 10.0.1.11:5300 -m -w 5");
    wait_for_weights(&scene.network, FAMILY, &[1, 6, 1]);
    traffic.replies(2500);
    wait_for_weights(&scene.network, FAMILY, &[1, 6, 1]);
    let lines = scene.daemon.lines();
    let again = lines.iter().filter(|line| line.contains("drift again and again")).count();
    assert_eq!(again, 1, "it is said once");
    assert_eq!(traffic.stop().answered.lost, [0; 0]);
}

fn report() {
    let scene = Scene::new("drift = \"report\"");
    let traffic = Traffic::start(&scene.network);
    scene.ipvsadm("-e -u VIP -r 10.0.1.12:5300 -m -w 5");
    scene.said(&["drift, only reported", "10.0.1.12:5300", "weight 1 → 5"]);
    traffic.replies(2500);
    assert_eq!(traffic.watch.states().last(), Some(&vec![1, 5, 1]));
    let lines = scene.daemon.lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains("drift, only reported")).count(),
        1,
        "it is said once"
    );
    assert_eq!(traffic.stop().answered.lost, [0; 0]);
}
