//! A dead server gets nothing: verdicts become weights, and nothing else happens to a server.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use lab::{
    Answer, Capture, Daemon, Echo, EchoSpec, Family, Network, Packet, Running, Stream, case, reading, vip,
    wait_until,
};
use libtest_mimic::Trial;

use crate::setup::{LIMIT, PATIENT, echoes, ipvsd, servers, service};
use crate::watch::{Messages, Watch};

pub fn tests() -> Vec<Trial> {
    vec![
        case("health::a_killed_server_gets_nothing_more_and_comes_back", killed),
        case("health::a_silent_server_gets_nothing_more_and_comes_back", silent),
        case("health::a_server_that_answers_wrongly_is_down", wrong_answer),
        case("health::a_server_that_answers_late_or_from_elsewhere_is_down", late_or_from_elsewhere),
        case("health::a_server_that_never_answers_is_down_by_icmp_only", never_answers),
        case("health::when_all_are_down_the_last_healthy_keep_their_weight_or_none_does", all_down),
    ]
}

/// The default timings.
const DEFAULT: &str = r#"{ type = "udp", send = "check", expect = "check" }"#;

/// A packet may be read from a capture so long after it was there, on a slow guest.
const LATE: Duration = Duration::from_millis(300);

fn killed() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let listen = Family::BOTH.map(|family| SocketAddr::new(network.server_address(1, family), 5300));
    let fate = Fate {
        family: Family::V4,
        die: &mut |servers: &mut Vec<Echo>| servers[1].kill(),
        revive: &mut |servers: &mut Vec<Echo>| servers[1] = Echo::start(&network.servers[1], "s1", &listen),
        why: "refused (ICMP port unreachable), as client traffic was",
        within: Duration::from_millis(50),
    };
    goes_and_comes_back(&network, &mut servers, fate);
}

fn silent() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let drop = "table inet dead { chain in { type filter hook input priority 0; udp dport 5300 drop\n}\n}";
    let fate = Fate {
        family: Family::V6,
        die: &mut |_: &mut Vec<Echo>| network.servers[1].nft(drop),
        revive: &mut |_: &mut Vec<Echo>| network.servers[1].nft("delete table inet dead"),
        why: "no answer within 400ms, 3 in a row",
        within: Duration::from_millis(1100),
    };
    goes_and_comes_back(&network, &mut servers, fate);
}

/// How server 1 dies and is brought back to life.
struct Fate<'a> {
    family: Family,
    die: &'a mut dyn FnMut(&mut Vec<Echo>),
    revive: &'a mut dyn FnMut(&mut Vec<Echo>),
    why: &'a str,
    within: Duration,
}

fn goes_and_comes_back(network: &Network, servers: &mut Vec<Echo>, fate: Fate<'_>) {
    let address = |number| SocketAddr::new(network.server_address(number, fate.family), 5300);
    let config = format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nscheduler = \"wrr\"\ncheck = {DEFAULT}\n\
         servers = [\"{}\", {{ address = \"{}\", weight = 2 }}, \"{}\"]\n",
        service(fate.family),
        address(0),
        address(1),
        address(2)
    );
    let messages = Messages::start(&network.director);
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(network, &config);
    watch.wait(&[1, 2, 1]);
    let stream = Stream::new(service(fate.family)).start(network.client());
    replies(&stream, 500);
    let said = all_up(&daemon);
    probes_change_nothing(network, &daemon, &mut servers[0]);

    let capture = Capture::start(&network.servers[1]);
    let (death, outage) = (SystemTime::now(), Instant::now());
    (fate.die)(servers);
    let down = watch.wait(&[1, 0, 1]);
    let outage = outage..Instant::now();
    replies(&stream, 1000);
    let packets = capture.stop();
    let client = network.client_address(0, fate.family);
    let requests: Vec<&Packet> = packets
        .iter()
        .filter(|packet| !packet.outgoing && packet.destination == address(1) && packet.source.ip() == client)
        .collect();
    let wasted = requests.iter().filter(|packet| packet.at >= death).count();
    let took = down.duration_since(death).expect("death comes first");
    let millis = took.as_millis();
    println!("measured: {millis} ms and {wasted} datagrams from its death ({}) to weight 0", fate.why);
    assert!(wasted > 0, "traffic was on its way to it");
    let after: Vec<_> = requests.iter().filter(|packet| packet.at > down + LATE).collect();
    assert!(after.is_empty(), "{} datagrams after weight 0", after.len());
    assert!(took < fate.within + Duration::from_secs(2), "a slow guest, but not that slow");
    one_line(&daemon, said, &[&format!("server={}", address(1)), "2 → 0", fate.why]);

    let said = daemon.lines().len();
    (fate.revive)(servers);
    watch.wait(&[1, 2, 1]);
    one_line(&daemon, said, &[&format!("server={}", address(1)), "0 → 2", "answered, 2 in a row"]);
    replies(&stream, 500);
    let flow = stream.stop();
    let last = flow.sent.len() as u64 - 400;
    let back =
        flow.answered.replies.iter().filter(|reply| reply.number > last && reply.server == "s1").count();
    assert!((195..=205).contains(&back), "half of 400 to the one with weight 2, not {back}");
    assert!(flow.answered.sources().iter().eq([&service(fate.family)]));
    // Lost is what went to the dead server, and what it had not answered yet when it died.
    let outage = outage.start - LATE..outage.end + LATE;
    let elsewhere =
        flow.answered.lost.iter().filter(|number| !outage.contains(&flow.sent[**number as usize]));
    assert_eq!(elsewhere.count(), 0, "lost at other times: {:?}", flow.answered.lost);

    assert_eq!(watch.connections(), Vec::<String>::new());
    let asked = messages.stop();
    let start = ["add elements", "add service", "add server", "add server", "add server"];
    assert_eq!(asked[..5], start, "rules, then the service, then servers without weight");
    assert_eq!(asked[5..], ["set server"; 5], "three get weight, one loses it and gets it back");
}

/// Waits for so many more replies.
fn replies(stream: &Running, count: u64) {
    let goal = stream.received() + count;
    wait_until(LIMIT, &format!("{count} more replies"), || stream.received() >= goal);
}

/// While a server is asked five times more, nothing is logged.
fn probes_change_nothing(network: &Network, daemon: &Daemon, server: &mut Echo) {
    let director: Vec<_> =
        Family::BOTH.iter().map(|family| network.director_address(lab::Side::Back, *family)).collect();
    let mut probes =
        || server.received().iter().filter(|datagram| director.contains(&datagram.from.ip())).count();
    let (said, before) = (daemon.lines(), probes());
    wait_until(LIMIT, "five probes", || {
        // A report is long: the server has answered thousands.
        thread::sleep(Duration::from_millis(300));
        probes() >= before + 5
    });
    assert_eq!(daemon.lines(), said);
}

/// Waits until the log says that three servers got their weight: it says so after the kernel does. How long it is then.
fn all_up(daemon: &Daemon) -> usize {
    let changes = || daemon.lines().iter().filter(|line| line.contains("weight changed")).count();
    wait_until(LIMIT, "three lines about weights", || changes() == 3);
    daemon.lines().len()
}

/// Exactly one line was logged since `said`; it names the service and holds these words.
fn one_line(daemon: &Daemon, said: usize, words: &[&str]) {
    wait_until(LIMIT, "a line in the log", || daemon.lines().len() > said);
    let lines = daemon.lines().split_off(said);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let has = |word: &&str| lines[0].contains(word);
    assert!(has(&"weight changed") && has(&"service=\"echo\"") && words.iter().all(has), "{lines:?}");
}

fn wrong_answer() {
    let network = Network::new(3);
    let mut echoes = echoes(&network, 5300);
    let watch = Watch::start(&network.director);
    let daemon =
        ipvsd(&network, &crate::setup::config(&network, Family::V4, 5300, &format!("check = {PATIENT}")));
    watch.wait(&[1, 1, 1]);
    let said = all_up(&daemon);
    echoes[2].set_answer(Answer::Text("sorry".to_owned()));
    watch.wait(&[1, 1, 0]);
    one_line(&daemon, said, &["1 → 0", "wrong answer", "3 in a row"]);
    echoes[2].set_answer(Answer::Echo);
    watch.wait(&[1, 1, 1]);
    assert_eq!(watch.states().last(), Some(&vec![1, 1, 1]));
}

fn late_or_from_elsewhere() {
    let network = Network::new(3);
    let mut echoes = echoes(&network, 5300);
    let watch = Watch::start(&network.director);
    let check = r#"check = { type = "udp", send = "check", expect = "check", interval = "300ms", timeout = "2s", retry_interval = "300ms", fall = 2, rise = 1 }"#;
    let daemon = ipvsd(&network, &crate::setup::config(&network, Family::V4, 5300, check));
    watch.wait(&[1, 1, 1]);
    let said = all_up(&daemon);
    let why = "no answer within 2s, 2 in a row";
    echoes[1].set_answer(Answer::Late(3000));
    watch.wait(&[1, 0, 1]);
    one_line(&daemon, said, &["1 → 0", why]);
    echoes[1].set_answer(Answer::Echo);
    watch.wait(&[1, 1, 1]);
    wait_until(LIMIT, "a line", || daemon.lines().len() > said + 1);
    let server = &network.servers[2];
    server.ip(&["addr add 10.0.1.99/24 dev eth0"]);
    server.nft("table ip other { chain out { type filter hook postrouting priority 0; meta l4proto udp ip saddr set 10.0.1.99; }; }");
    watch.wait(&[1, 1, 0]);
    one_line(&daemon, said + 2, &["1 → 0", why]);
    server.nft("delete table ip other");
    watch.wait(&[1, 1, 1]);
}

fn never_answers() {
    let network = Network::new(3);
    let listen = |number| [SocketAddr::new(network.server_address(number, Family::V4), 514)];
    let start = |number: usize| {
        let name = format!("s{number}");
        let spec =
            EchoSpec { name, listen: listen(number).into(), answer: Answer::Silent, zero_checksum: false };
        Echo::with(&network.servers[number], &spec)
    };
    let mut sinks: Vec<Echo> = (0..3).map(start).collect();
    let watch = Watch::start(&network.director);
    let check = r#"check = { type = "udp", send = "check", reply = "optional" }"#;
    let daemon = ipvsd(&network, &crate::setup::config(&network, Family::V4, 514, check));
    watch.wait(&[1, 1, 1]);
    let said = all_up(&daemon);
    sinks[0].kill();
    watch.wait(&[0, 1, 1]);
    one_line(&daemon, said, &["1 → 0", "refused (ICMP port unreachable)"]);
    let asked = sinks[1].received().len();
    wait_until(LIMIT, "five probes", || sinks[1].received().len() >= asked + 5);
    assert_eq!(watch.states().last(), Some(&vec![0, 1, 1]), "silence is right for the others");
    sinks[0] = start(0);
    watch.wait(&[1, 1, 1]);
}

fn all_down() {
    let network = Network::new(3);
    let keep = echoes(&network, 5300);
    let refuse = echoes(&network, 5400);
    let mut config = format!("[defaults]\ncheck = {DEFAULT}\n");
    for (policy, vip_port, port) in [("keep", 53, 5300), ("refuse", 54, 5400)] {
        config += &format!(
            "[[service]]\nname = \"{policy}\"\nlisten = \"{}:{vip_port}\"\nservers = [{}]\nwhen_all_down = \"{policy}\"\n",
            vip(Family::V4),
            servers(&network, Family::V4, port)
        );
    }
    let daemon = ipvsd(&network, &config);
    let wait = |policy: &str, weights: [u32; 3]| {
        let key = format!("udp 192.0.2.53:{}", if policy == "keep" { 53 } else { 54 });
        wait_until(LIMIT, &format!("{policy}: {weights:?}"), || {
            let mut servers: Vec<_> = reading::services(&network.director)
                .into_iter()
                .filter(|service| service.key == key)
                .flat_map(|service| service.servers)
                .map(|server| (server.address, server.weight))
                .collect();
            servers.sort();
            servers.iter().map(|(_, weight)| *weight).eq(weights)
        });
    };
    wait("keep", [1, 1, 1]);
    wait("refuse", [1, 1, 1]);
    drop((keep, refuse));
    let kept = daemon.wait_for("all servers are down", LIMIT);
    assert!(kept.contains("ERROR") && kept.contains("service=\"keep\""), "{kept}");
    for number in 0..3 {
        let server = SocketAddr::new(network.server_address(number, Family::V4), 5300);
        assert!(kept.contains(&server.to_string()), "{kept}");
    }
    let refused = daemon.wait_for("no server is up: clients are refused", LIMIT);
    assert!(refused.contains("ERROR") && refused.contains("service=\"refuse\""), "{refused}");
    wait("keep", [1, 1, 1]);
    wait("refuse", [0, 0, 0]);

    let address = |port| SocketAddr::new(network.server_address(1, Family::V4), port);
    let _back = Echo::start(&network.servers[1], "s1", &[address(5300), address(5400)]);
    wait("keep", [0, 1, 0]);
    wait("refuse", [0, 1, 0]);
}
