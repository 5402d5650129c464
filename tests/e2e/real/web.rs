//! Checks that are no datagrams, against nginx; and those that ask nobody but a file or a command.

use std::fs;
use std::net::SocketAddr;

use lab::{Echo, Family, Network, wait_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::peers::run;
use super::{Server, said};
use crate::setup::{LIMIT, ipvsd};
use crate::watch::Watch;

const NAME: &str = "www.example.test";

/// An authority that the check trusts or does not.
pub fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// nginx on server `number`, whose `/health` is said as `health` has it.
pub fn start(
    network: &Network,
    number: usize,
    issuer: &CertifiedIssuer<'static, KeyPair>,
    health: &str,
) -> Server {
    // `IP` and `DIR` are filled in everywhere.
    let plain = |pem: &String| !pem.contains("IP") && !pem.contains("DIR");
    let (certificate, key) = loop {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        if plain(&certificate) && plain(&key) {
            break (certificate, key);
        }
    };
    let config = format!(
        "daemon off;\nuser root;\npid DIR/pid;\nerror_log stderr;\nevents {{\n}}\nhttp {{\n access_log off;\n \
         client_body_temp_path DIR;\n proxy_temp_path DIR;\n fastcgi_temp_path DIR;\n uwsgi_temp_path DIR;\n \
         scgi_temp_path DIR;\n server {{\n  listen IP:443 ssl;\n  listen IP:53;\n  server_name {NAME};\n  \
         ssl_certificate DIR/certificate;\n  ssl_certificate_key DIR/key;\n  location = /health {{\n   {health}\n  }}\n }}\n}}\n"
    );
    let files =
        [("nginx.conf", config.as_str()), ("certificate", certificate.as_str()), ("key", key.as_str())];
    run(network, number, &files, "nginx -e stderr -c DIR/nginx.conf")
}

/// What a healthy one says: it asks for half of its weight.
pub const LOAD: &str = "add_header X-Weight 50; return 200 \"all is well\";";

/// Server 0 is right, and asks for half of its weight; server 1 is sick, and server 2 is not who it seems.
pub fn nginx() {
    let network = Network::new(3);
    let ours = authority("ours");
    let mut right = start(&network, 0, &ours, LOAD);
    let _sick = start(&network, 1, &ours, "return 503;");
    let _forged = start(&network, 2, &authority("another"), LOAD);
    let folder = TempDir::new().expect("a temporary directory");
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, ours.pem()).expect("a file");
    // A handshake of TLS takes a slow guest seconds.
    let times = "interval = \"1s\", timeout = \"8s\", retry_interval = \"1s\", fall = 2, rise = 1";
    let address = |number| SocketAddr::new(network.server_address(number, Family::V4), 53);
    let config = format!(
        "[[service]]\nname = \"web\"\nlisten = \"192.0.2.53:53\"\nscheduler = \"wrr\"\nwhen_all_down = \"refuse\"\n\
         servers = [{{ address = \"{}\", weight = 10 }}, {{ address = \"{}\", weight = 10 }}, {{ address = \"{}\", weight = 10 }}]\n\
         check = [\n {{ type = \"icmp\", {times} }},\n {{ type = \"tcp\", port = 443, {times} }},\n \
         {{ type = \"https\", port = 443, host = \"{NAME}\", path = \"/health\", status = 200, body = \"well$\", \
         ca_file = \"{}\", weight = \"X-Weight\", {times} }},\n]\n",
        address(0),
        address(1),
        address(2),
        roots.display()
    );
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config);
    watch.wait(&[5, 0, 0]);
    let tells = |number: usize, why: &str| {
        wait_until(LIMIT, why, || said(&daemon, &address(number).to_string(), why));
    };
    tells(1, "wrong answer: status 503 Service Unavailable");
    tells(2, "wrong answer: TLS: invalid peer certificate: UnknownIssuer");

    let server = &network.servers[0];
    server.nft("table ip dead { chain in { type filter hook input priority 0; tcp dport 443 drop\n}\n}");
    watch.wait(&[0, 0, 0]);
    tells(0, "no answer within 8s, 2 in a row");
    server.nft("delete table ip dead");
    watch.wait(&[5, 0, 0]);

    let silences =
        || daemon.lines().iter().filter(|line| line.contains("no answer within 8s, 2 in a row")).count();
    let before = silences();
    server.check("tc", &["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "9s"]);
    watch.wait(&[0, 0, 0]);
    wait_until(LIMIT, "an answer that is late is none", || silences() > before);
    server.check("tc", &["qdisc", "del", "dev", "eth0", "root"]);
    watch.wait(&[5, 0, 0]);

    right.kill();
    watch.wait(&[0, 0, 0]);
    tells(0, "connection refused, 2 in a row");
    let _right = start(&network, 0, &ours, LOAD);
    watch.wait(&[5, 0, 0]);
    assert!(!watch.states().iter().any(|weights| weights.iter().skip(1).any(|weight| *weight > 0)));
}

/// A service by files and one by commands, of one folder; both say what the weight is.
pub fn weights() {
    let network = Network::new(2);
    let listen =
        |number| [5300, 5400].map(|port| SocketAddr::new(network.server_address(number, Family::V4), port));
    let _servers: Vec<Echo> = (0..2)
        .map(|number| Echo::start(&network.servers[number], &format!("s{number}"), &listen(number)))
        .collect();
    let folder = TempDir::new().expect("a temporary directory");
    let write = |number, text: &str| {
        let path = folder.path().join(network.server_address(number, Family::V4).to_string());
        fs::write(path.with_extension("new"), text).expect("a file");
        fs::rename(path.with_extension("new"), path).expect("a file");
    };
    write(0, "100\n");
    write(1, "50\n");
    let dir = folder.path().display();
    // A process takes a slow guest its time.
    let times = "interval = \"1s\", timeout = \"20s\", retry_interval = \"5s\", fall = 2, rise = 1";
    let checks = [
        format!("{{ type = \"file\", path = \"{dir}/{{address}}\", weight = true, {times} }}"),
        format!(
            "{{ type = \"exec\", command = [\"/bin/sh\", \"-c\", 'cat \"$0/$IPVSD_SERVER\"', \"{dir}\"], weight = true, {times} }}"
        ),
    ];
    let config: String = [("files", 5300), ("commands", 5400)]
        .iter()
        .zip(&checks)
        .map(|((name, port), check)| {
            let server = |number: usize| {
                format!(
                    "{{ address = \"{}:{port}\", weight = 20 }}",
                    network.server_address(number, Family::V4)
                )
            };
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = \"192.0.2.53:{port}\"\nscheduler = \"wrr\"\n\
                 when_all_down = \"refuse\"\nservers = [{}, {}]\ncheck = {check}\n",
                server(0),
                server(1)
            )
        })
        .collect();
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config);
    watch.wait(&[20, 20, 10, 10]);
    write(0, "150\n");
    watch.wait(&[30, 30, 10, 10]);
    write(1, "0\n");
    watch.wait(&[30, 30, 0, 0]);
    write(1, "lots\n");
    let server = network.server_address(1, Family::V4);
    for (port, why) in [(5300, "not a number from 0 to 1000, 2 in a row"), (5400, "what the command says is")]
    {
        wait_until(LIMIT, why, || said(&daemon, &format!("{server}:{port}"), why));
    }
    write(1, "1\n");
    watch.wait(&[30, 30, 1, 1]);
}
