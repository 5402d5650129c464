//! How each real server is started, rightly and wrongly.

use std::any::Any;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use lab::{Echo, Family, Network, Process, wait_until};
use tempfile::TempDir;

use super::{Plan, Server, TIMES, lives_and_dies, said, start};
use crate::setup::{LIMIT, ipvsd, service};
use crate::watch::Watch;

/// Server `number` with these files (`DIR` is their folder, `IP` the server's address) and this command line.
pub fn run(network: &Network, number: usize, files: &[(&str, &str)], command: &str) -> Server {
    let dir = TempDir::new().expect("a temporary directory");
    let ip = network.server_address(number, Family::V4).to_string();
    // The folder last: its name is random, and may have an `IP` in it.
    let fill = |text: &str| text.replace("IP", &ip).replace("DIR", &dir.path().display().to_string());
    for (name, text) in files {
        fs::write(dir.path().join(name), fill(text)).expect(name);
    }
    let command = fill(command);
    let mut words = command.split_whitespace();
    let mut program = Command::new(words.next().expect("a program"));
    let process = Process::start(
        &network.servers[number],
        program.args(words).current_dir(dir.path()).process_group(0),
    );
    Server { process, _dir: dir }
}

fn boxed(server: Server) -> Box<dyn Any> {
    Box::new(server)
}

/// Server 1 sends back what it gets, with its name before it.
fn echo(network: &Network, port: u16) -> Box<dyn Any> {
    let listen = SocketAddr::new(network.server_address(1, Family::V4), port);
    Box::new(Echo::start(&network.servers[1], "s1", &[listen]))
}

pub fn unbound() {
    let config = |rule: &str| {
        format!(
            "server:\n interface: IP\n port: 53\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"DIR\"\n \
             pidfile: \"\"\n use-syslog: no\n access-control: 0.0.0.0/0 {rule}\n local-zone: example.test static\n \
             local-data: \"www.example.test A 192.0.2.80\"\nremote-control:\n control-enable: no\n"
        )
    };
    let start = |network: &Network, number, rule: &str| {
        run(network, number, &[("unbound.conf", &config(rule))], "unbound -d -c DIR/unbound.conf")
    };
    lives_and_dies(&Plan {
        check: "type = \"dns\", query = \"www.example.test\", answer = \"192.0.2.80\"",
        port: 53,
        right: &|network| start(network, 0, "allow"),
        wrong: &|network| boxed(start(network, 1, "refuse")),
        why: "wrong answer: REFUSED, expected NOERROR",
    });
}

pub fn freeradius() {
    radius("auth", 1812);
}

pub fn freeradius_accounting() {
    radius("acct", 1813);
}

fn radius(kind: &str, port: u16) {
    let config = |server: &str, secret: &str| {
        format!(
            "name = radius\nprefix = /usr\nraddbdir = DIR\nlogdir = DIR\nradacctdir = DIR\nrun_dir = DIR\n\
             libdir = /usr/lib/freeradius\npidfile = DIR/pid\nsecurity {{\n status_server = {server}\n \
             allow_vulnerable_openssl = yes\n}}\nclient all {{\n ipaddr = 0.0.0.0/0\n secret = {secret}\n}}\nmodules {{\n}}\n\
             server default {{\n listen {{\n  type = {kind}\n  ipaddr = IP\n  port = {port}\n }}\n authorize {{\n }}\n \
             preacct {{\n }}\n accounting {{\n }}\n}}\n"
        )
    };
    let start = |network: &Network, number, config: &str| {
        run(network, number, &[("radiusd.conf", config)], "freeradius -f -l stdout -n radiusd -d DIR")
    };
    let secret = TempDir::new().expect("a temporary directory");
    let file = secret.path().join("secret");
    fs::write(&file, "testing123\n").expect("a file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("permissions");
    lives_and_dies(&Plan {
        check: &format!("type = \"radius\", secret_file = \"{}\"", file.display()),
        port,
        right: &|network| start(network, 0, &config("yes", "testing123")),
        // It throws away what is not signed with its secret.
        wrong: &|network| boxed(start(network, 1, &config("yes", "another"))),
        why: "no answer within",
    });
}

pub fn kamailio() {
    let config = |status: &str| {
        format!(
            "log_stderror=yes\nchildren=1\nlisten=udp:IP:5060\nmpath=\"/usr/lib/x86_64-linux-gnu/kamailio/modules/\"\n\
             loadmodule \"sl.so\"\nrequest_route {{\n if (method == \"OPTIONS\") sl_send_reply({status});\n}}\n"
        )
    };
    let start = |network: &Network, number, status: &str| {
        run(
            network,
            number,
            &[("kamailio.cfg", &config(status))],
            "kamailio -f DIR/kamailio.cfg -D -E -m 32 -M 4 -Y DIR",
        )
    };
    lives_and_dies(&Plan {
        check: "type = \"sip\"",
        port: 5060,
        right: &|network| start(network, 0, "\"200\", \"Keepalive\""),
        wrong: &|network| boxed(start(network, 1, "\"503\", \"Maintenance\"")),
        why: "wrong answer: 503 Maintenance",
    });
}

pub fn chrony() {
    let start = |network: &Network, number, more: &str| {
        let config = format!(
            "allow all\nbindaddress IP\ncmdport 0\nbindcmdaddress /\npidfile DIR/pid\ndriftfile DIR/drift\n{more}\n"
        );
        run(network, number, &[("chrony.conf", &config)], "chronyd -d -x -u root -f DIR/chrony.conf")
    };
    lives_and_dies(&Plan {
        check: "type = \"ntp\"",
        port: 123,
        right: &|network| start(network, 0, "local stratum 8"),
        wrong: &|network| boxed(start(network, 1, "")),
        why: "wrong answer: the server's clock is not synchronised",
    });
}

pub fn snmpd() {
    let start = |network: &Network, number, view: &str| {
        let config = format!("view seen included {view}\nrocommunity public default -V seen\n");
        let command = "snmpd -f -Lo -C -c DIR/snmpd.conf -p DIR/pid udp:IP:161";
        run(network, number, &[("snmpd.conf", &config)], command)
    };
    lives_and_dies(&Plan {
        check: "type = \"snmp\"",
        port: 161,
        right: &|network| start(network, 0, ".1.3.6.1.2.1.1"),
        wrong: &|network| boxed(start(network, 1, ".1.3.6.1.2.1.2")),
        why: "wrong answer: noSuch",
    });
}

pub fn coturn() {
    lives_and_dies(&Plan {
        check: "type = \"stun\"",
        port: 3478,
        right: &|network| {
            let command = "turnserver -n --stun-only --no-cli --no-tls --no-dtls --listening-ip=IP --listening-port=3478 \
                           --log-file=stdout --pidfile=DIR/pid --userdb=DIR/db";
            run(network, 0, &[], command)
        },
        wrong: &|network| echo(network, 3478),
        why: "wrong answer: 23 bytes are no STUN message",
    });
}

pub fn tftpd() {
    let start = |network: &Network, number, file: &str| {
        run(network, number, &[(file, "a boot loader")], "in.tftpd -L -u root --address IP:69 -s DIR")
    };
    lives_and_dies(&Plan {
        check: "type = \"tftp\", file = \"loader\"",
        port: 69,
        right: &|network| start(network, 0, "loader"),
        wrong: &|network| boxed(start(network, 1, "another")),
        why: "wrong answer: error 1: File not found",
    });
}

pub fn ngtcp2() {
    let key = "/etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem";
    lives_and_dies(&Plan {
        check: "type = \"quic\"",
        port: 443,
        right: &|network| run(network, 0, &[], &format!("gtlsserver -q -d DIR IP 443 {key}")),
        wrong: &|network| echo(network, 443),
        why: "wrong answer: not a QUIC packet with a long header",
    });
}

/// Nobody answers: only a process that is gone can be seen.
pub fn rsyslog() {
    let network = Network::new(2);
    let config = "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"IP\" port=\"514\")\n\
                  *.* action(type=\"omfile\" file=\"DIR/log\")\n";
    let start_server = |number| {
        run(&network, number, &[("rsyslog.conf", config)], "rsyslogd -n -f DIR/rsyslog.conf -i DIR/pid")
    };
    let mut servers: Vec<Server> = (0..2).map(start_server).collect();
    let log = |server: &Server| fs::read_to_string(server._dir.path().join("log")).unwrap_or_default();
    let watch = Watch::start(&network.director);
    let daemon = start(&network, "type = \"syslog\", facility = \"local0\", severity = \"info\"", 514);
    watch.wait(&[1, 1]);
    wait_until(LIMIT, "a message in each log", || {
        servers
            .iter()
            .all(|server| log(server).contains("ipvsd ipvsd checks whether this server takes messages"))
    });
    servers[0].kill();
    watch.wait(&[0, 1]);
    daemon.wait_for("refused (ICMP port unreachable)", LIMIT);
    servers[0] = start_server(0);
    watch.wait(&[1, 1]);
}

/// A firewall eats the ICMP errors of the servers: only the companion can see that one is gone.
pub fn rsyslog_with_companion() {
    let network = Network::new(2);
    let config = "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"IP\" port=\"514\")\n\
                  module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"IP\" port=\"514\")\n\
                  *.* action(type=\"omfile\" file=\"DIR/log\")\n";
    let start_server = |number| {
        run(&network, number, &[("rsyslog.conf", config)], "rsyslogd -n -f DIR/rsyslog.conf -i DIR/pid")
    };
    let mut servers: Vec<Server> = (0..2).map(start_server).collect();
    for server in &network.servers {
        server.nft(
            "table ip mute { chain out { type filter hook output priority 0; ip protocol icmp drop; }; }",
        );
        wait_until(LIMIT, "it listens", || server.check("ss", &["-Hltun"]).matches(":514 ").count() == 2);
    }
    let config = format!(
        "[[service]]\nname = \"logs\"\nlisten = \"{}\"\nservers = [{}]\nwhen_all_down = \"refuse\"\n\
         check = [{{ type = \"syslog\", {TIMES} }}, {{ type = \"tcp\", {TIMES} }}]\n",
        service(Family::V4),
        crate::setup::servers(&network, Family::V4, 514)
    );
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config);
    watch.wait(&[1, 1]);
    servers[0].kill();
    watch.wait(&[0, 1]);
    let address = format!("{}:514", network.server_address(0, Family::V4));
    let why = "connection refused, 2 in a row";
    wait_until(LIMIT, why, || said(&daemon, &address, why));
    servers[0] = start_server(0);
    watch.wait(&[1, 1]);
}
