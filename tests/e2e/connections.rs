//! What is not one-packet scheduling: TCP and SCTP beside UDP, firewall marks, persistence, thresholds, flags of schedulers,
//! servers reached in several ways. IPVS does the rest; ipvsd keeps it as the config says.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{Burst, Echo, Family, Network, case, reading, vip, wait_until};
use libtest_mimic::Trial;

use crate::setup::{LIMIT, PATIENT, command, echoes, ipvsd, service};

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("connections::tcp_follows_the_verdicts_of_its_udp_twin", twins),
        case("connections::all_settings_are_in_the_kernel_and_stay_there", settings),
        case("connections::a_firewall_mark_is_many_vips", marks),
        case("connections::persistence_keeps_a_client_with_its_server", persistence),
    ]
}

/// A server that says its number to whoever connects.
fn greeters(network: &Network, port: u16) {
    for (number, netns) in network.servers.iter().enumerate() {
        let address = SocketAddr::new(network.server_address(number, FAMILY), port);
        let listener = netns.run(|| TcpListener::bind(address).expect("a listener"));
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever has gone by now does not miss it.
                let _ = stream.and_then(|mut stream| stream.write_all(&[number as u8]));
            }
        });
    }
}

/// The numbers of the servers that `count` connections, one after the other, were greeted by.
fn greetings(network: &Network, to: SocketAddr, count: usize) -> Vec<u8> {
    network.client().run(|| {
        let greet = |_| {
            let mut stream = TcpStream::connect_timeout(&to, LIMIT).expect("a connection");
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            let mut number = [0];
            stream.read_exact(&mut number).expect("a greeting");
            number[0]
        };
        (0..count).map(greet).collect()
    })
}

/// What the kernel has, in `ipvsadm`'s words.
fn table(network: &Network) -> BTreeSet<String> {
    let text = network.director.check("ipvsadm", &["-Sn"]);
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn wait_for_table(network: &Network, lines: &[&str]) {
    let wanted: BTreeSet<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let mut found = BTreeSet::new();
    let limit = std::time::Instant::now() + LIMIT;
    while found != wanted && std::time::Instant::now() < limit {
        found = table(network);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(found, wanted);
}

fn twins() {
    let network = Network::new(3);
    let mut udp = echoes(&network, 5300);
    greeters(&network, 5300);
    let vip = service(FAMILY);
    let servers = crate::setup::servers(&network, FAMILY, 5300);
    let daemon = ipvsd(
        &network,
        &format!(
            "[[service]]\nname = \"dns\"\nlisten = [\"{vip}\", \"{vip}/tcp\"]\nservers = [{servers}]\ncheck = {PATIENT}\n"
        ),
    );
    let both = |first: u32| {
        let lines = [("-u", " -o"), ("-t", "")].map(|(of, flag)| {
            format!(
                "-A {of} {vip} -s rr{flag}\n-a {of} {vip} -r 10.0.1.11:5300 -m -w {first}\n\
                 -a {of} {vip} -r 10.0.1.12:5300 -m -w 1\n-a {of} {vip} -r 10.0.1.13:5300 -m -w 1"
            )
        });
        let text = lines.join("\n");
        wait_for_table(&network, &text.lines().collect::<Vec<_>>());
    };
    both(1);
    let mut greeted = greetings(&network, vip, 30);
    greeted.sort();
    assert_eq!(greeted, [[0; 10], [1; 10], [2; 10]].concat(), "each connection goes to the next server");
    let answered = Burst::new(vip, 30).run(network.client());
    assert_eq!((answered.lost.len(), answered.spread()), (0, vec![10, 10, 10]));
    udp[0].kill();
    both(0);
    assert!(!greetings(&network, vip, 20).contains(&0), "no connection to the server that is down");
    let (status, text, _) = command(&network.director, &["status"]);
    assert_eq!(status, 0);
    assert!(text.contains(&format!("{vip}/tcp  rr, nat")), "{text}");
    let (status, text, _) = command(&network.director, &["drain", "dns", "10.0.1.12"]);
    assert_eq!(status, 0, "{text}");
    wait_until(LIMIT, "all connections to the last server", || greetings(&network, vip, 4) == [2; 4]);
    // The twin leaves the config: its servers drain, and it goes.
    fs::write(
        daemon.config_file(),
        format!("[[service]]\nname = \"dns\"\nlisten = \"{vip}\"\nservers = [{servers}]\ndrain = \"1s\"\ncheck = {PATIENT}\n"),
    )
    .expect("writing the config");
    assert_eq!(command(&network.director, &["reload"]).0, 0);
    wait_until(LIMIT, "the TCP service has gone", || {
        !table(&network).iter().any(|line| line.contains("-t "))
    });
}

fn settings() {
    let network = Network::new(3);
    // Thresholds of 20 and 10 connections, an SCTP service for SIP, any port with persistence.
    let config = r#"
        [defaults]
        check = "none"

        [[service]]
        name = "web"
        listen = ["192.0.2.53:80/tcp", "[2001:db8::53]:80/tcp"]
        scheduler = "wlc"
        persistence = "6m"
        servers = [
            { address = "10.0.1.11:8080", weight = 3, upper_threshold = 20, lower_threshold = 10 },
            { address = "10.0.1.12:80", weight = 1, forward = "direct" },
            { address = "10.0.1.13:80", weight = 1, forward = "tunnel" },
            "[fd00:1::11]:8080",
        ]

        [[service]]
        name = "diameter"
        listen = "192.0.2.53:3868/sctp"
        scheduler = "sh"
        scheduler_flags = ["sh-port", "sh-fallback"]
        servers = ["10.0.1.11:3868"]

        [[service]]
        name = "any"
        listen = "192.0.2.53:0"
        persistence = { timeout = "1h", prefix_v4 = 24 }
        servers = ["10.0.1.11:0"]

        [[service]]
        name = "marked"
        listen = ["fwmark 7", "fwmark 7/ipv6"]
        forward = "direct"
        servers = ["10.0.1.11:0", "[fd00:1::11]:0"]

        [[service]]
        name = "sip"
        listen = "192.0.2.53:5060"
        ops = true
        persistence = { timeout = "60s", engine = "sip" }
        servers = ["10.0.1.11:5060"]
        "#;
    let daemon = ipvsd(&network, config);
    let wanted = [
        "-A -t 192.0.2.53:80 -s wlc -p 360",
        "-a -t 192.0.2.53:80 -r 10.0.1.11:8080 -m -w 3",
        "-a -t 192.0.2.53:80 -r 10.0.1.12:80 -g -w 1",
        "-a -t 192.0.2.53:80 -r 10.0.1.13:80 -i -w 1 --tun-type ipip",
        "-A -t [2001:db8::53]:80 -s wlc -p 360",
        "-a -t [2001:db8::53]:80 -r [fd00:1::11]:8080 -m -w 1",
        "-A --sctp-service 192.0.2.53:3868 -s sh -b sh-fallback,sh-port",
        "-a --sctp-service 192.0.2.53:3868 -r 10.0.1.11:3868 -m -w 1",
        "-A -u 192.0.2.53:0 -s rr -p 3600 -M 255.255.255.0",
        "-a -u 192.0.2.53:0 -r 10.0.1.11:0 -m -w 1",
        "-A -f 7 -s rr -o",
        "-a -f 7 -r 10.0.1.11:0 -g -w 1",
        "-A -f 7 -6 -s rr -o",
        "-a -f 7 -6 -r [fd00:1::11]:0 -g -w 1",
        "-A -u 192.0.2.53:5060 -s rr -p 60 --pe sip -o",
        "-a -u 192.0.2.53:5060 -r 10.0.1.11:5060 -m -w 1",
    ];
    wait_for_table(&network, &wanted);
    let thresholds = || network.director.check("ipvsadm", &["-Ln", "--thresholds"]);
    let limited = |text: &str| {
        let line = text.lines().find(|line| line.contains("10.0.1.11:8080")).expect("the server");
        line.split_whitespace().collect::<Vec<_>>()[2..4] == ["20", "10"]
    };
    assert!(limited(&thresholds()), "{}", thresholds());
    let plan =
        || command(&network.director, &["plan", "--config", &daemon.config_file().display().to_string()]);
    wait_until(LIMIT, "nothing to change", || plan().0 == 0);
    // Each of them is repaired when somebody else changes it.
    for change in [
        &["-E", "-t", "192.0.2.53:80", "-s", "wlc", "-p", "60"][..],
        &["-e", "-t", "192.0.2.53:80", "-r", "10.0.1.11:8080", "-m", "-w", "3"],
        &["-e", "-t", "192.0.2.53:80", "-r", "10.0.1.12:80", "-m", "-w", "1"],
        &["-E", "--sctp-service", "192.0.2.53:3868", "-s", "sh"],
        &["-E", "-f", "7", "-s", "rr"],
        &["-d", "-f", "7", "-6", "-r", "[fd00:1::11]:0"],
        &["-D", "-u", "192.0.2.53:0"],
    ] {
        network.director.check("ipvsadm", change);
        wait_for_table(&network, &wanted);
    }
    wait_until(LIMIT, "thresholds as before", || limited(&thresholds()));
    drop(daemon);
    let _daemon = ipvsd(&network, config);
    wait_for_table(&network, &wanted);
}

fn marks() {
    let network = Network::new(3);
    network.direct_return();
    let ports = [53, 5353];
    let start = |(number, netns)| {
        let own = SocketAddr::new(network.server_address(number, FAMILY), 53);
        let listen: Vec<_> =
            ports.iter().map(|port| SocketAddr::new(vip(FAMILY), *port)).chain([own]).collect();
        Echo::start(netns, &format!("s{number}"), &listen)
    };
    let mut servers: Vec<Echo> = network.servers.iter().enumerate().map(start).collect();
    network.director.nft(
        "table ip somebody { chain marks { type filter hook prerouting priority mangle; \
         ip daddr 192.0.2.53 udp dport { 53, 5353 } meta mark set 7; }; }",
    );
    let addresses: Vec<String> =
        (0..3).map(|number| format!("\"{}:0\"", network.server_address(number, FAMILY))).collect();
    let check = PATIENT.replace("{ ", "{ port = 53, ");
    let _daemon = ipvsd(
        &network,
        &format!(
            "[[service]]\nname = \"marked\"\nlisten = \"fwmark 7\"\nforward = \"direct\"\nservers = [{}]\ncheck = {check}\n",
            addresses.join(", ")
        ),
    );
    let weights = || reading::weights(&network.director, "fwmark 7");
    wait_until(LIMIT, "all up", || weights() == [1, 1, 1]);
    for port in ports {
        let to = SocketAddr::new(vip(FAMILY), port);
        let answered = Burst::new(to, 30).run(network.client());
        assert_eq!((answered.lost.len(), answered.spread()), (0, vec![10, 10, 10]), "{to}");
        assert_eq!(answered.sources(), [to].into());
    }
    assert_eq!(reading::connections(&network.director), Vec::<String>::new());
    servers[1].kill();
    wait_until(LIMIT, "weight 0", || weights().iter().filter(|weight| **weight == 0).count() == 1);
    let to = SocketAddr::new(vip(FAMILY), 5353);
    let answered = Burst::new(to, 30).run(network.client());
    assert_eq!((answered.lost.len(), answered.spread()), (0, vec![15, 15]));
}

fn persistence() {
    let network = Network::new(3);
    greeters(&network, 5300);
    let vip = SocketAddr::new(vip(FAMILY), 80);
    let servers = crate::setup::servers(&network, FAMILY, 5300);
    let _daemon = ipvsd(
        &network,
        &format!(
            "[[service]]\nname = \"web\"\nlisten = \"{vip}/tcp\"\npersistence = \"5m\"\nservers = [{servers}]\ncheck = \"tcp\"\n"
        ),
    );
    wait_until(LIMIT, "all up", || reading::weights(&network.director, &format!("tcp {vip}")) == [1, 1, 1]);
    let greeted: BTreeSet<u8> = greetings(&network, vip, 12).into_iter().collect();
    assert_eq!(greeted.len(), 1, "all connections of one client to one server");
}
