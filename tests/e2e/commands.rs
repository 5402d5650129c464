//! What keepalived's users are used to beside forwarding: commands of single servers, and of the end, services that are suspended
//! while another director has their VIP, time-outs of connections.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lab::{Family, Network, case, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::policy::lines;
use crate::setup::{IPVSD, LIMIT, PATIENT, command, config, echoes, ipvsd, server, wait_for_weights};

pub fn tests() -> Vec<Trial> {
    vec![
        case("commands::a_server_s_own_follow_its_verdicts_and_the_end", of_servers),
        case("commands::another_user_takes_one_who_may_change_users", another_user),
        case("commands::without_the_vip_nobody_is_probed", suspended),
        case("commands::time_outs_are_set_and_kept_and_put_back", timeouts),
    ]
}

/// A command that appends its word, the server and the state to a file.
fn tell(file: &Path, word: &str) -> String {
    let script = "echo $1 $IPVSD_SERVER:$IPVSD_PORT $IPVSD_STATE $IPVSD_SERVERS_UP >> $0";
    format!("[\"/bin/sh\", \"-c\", \"{script}\", \"{}\", \"{word}\"]", file.display())
}

fn of_servers() {
    let network = Network::new(2);
    let mut servers = echoes(&network, 5300);
    let folder = tempfile::tempdir().expect("a directory");
    let told = folder.path().join("told");
    let (a, b) = (server(&network, 0, Family::V4), server(&network, 1, Family::V4));
    let text = format!(
        "[[service]]\nname = \"echo\"\nlisten = \"192.0.2.53:53\"\n\
         servers = [{{ address = \"{a}\", on_up = {}, on_down = {} }}, \"{b}\"]\n\
         on_down = {}\ndown_on_stop = true\ncheck = {PATIENT}\n",
        tell(&told, "server"),
        tell(&told, "server"),
        tell(&told, "service"),
    );
    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, Family::V4, &[1, 1]);
    let first = lines(&told, 1);
    assert!(first[0].starts_with(&format!("server {a} up")), "{first:?}");
    servers[0].kill();
    wait_for_weights(&network, Family::V4, &[0, 1]);
    assert_eq!(lines(&told, 2)[1], format!("server {a} down {b}"));
    servers[0] = crate::policy::restart(&network, 0);
    wait_for_weights(&network, Family::V4, &[1, 1]);
    lines(&told, 3);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_exit(LIMIT);
    let mut last = lines(&told, 5).split_off(3);
    last.sort();
    assert!(
        last[0].starts_with(&format!("server {a} down")) && last[1].starts_with("service : down"),
        "{last:?}"
    );
    wait_for_weights(&network, Family::V4, &[1, 1]);
}

fn another_user() {
    let network = Network::new(1);
    let _echoes = echoes(&network, 5300);
    let more = format!("check = {PATIENT}\non_up = {{ command = [\"/bin/true\"], user = \"nobody\" }}");
    let text = config(&network, Family::V4, 5300, &more);
    let own = tempfile::tempdir().expect("a folder");
    let path = own.path().join("nobody.toml");
    std::fs::write(&path, &text).expect("a config");
    let path = path.display().to_string();
    let without = ["--bounding-set", "-setuid", IPVSD, "run", "--config", &path];
    let output = network.director.output("setpriv", &without);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is to run as nobody"), "{said}");
    assert!(said.contains("/bin/true") && said.contains("User=") && said.contains("CAP_SETUID"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("a mode");
    let file = folder.path().join("made");
    let more = format!(
        "check = {PATIENT}\non_up = {{ command = [\"/usr/bin/touch\", \"{}\"], user = \"nobody\", privileges = \"network\" }}",
        file.display()
    );
    let daemon = ipvsd(&network, &config(&network, Family::V4, 5300, &more));
    daemon.wait_for("command run", LIMIT);
    assert_eq!(std::fs::metadata(&file).expect("a file").uid(), 65_534, "nobody's");
}

fn suspended() {
    let network = Network::new(2);
    let mut servers = echoes(&network, 5300);
    let text = config(&network, Family::V4, 5300, &format!("check = {PATIENT}\nha_suspend = true"));
    let vip = "192.0.2.53";
    // Counts what is probed, or sent, there.
    for command in [
        "add table ip seen",
        "add chain ip seen input { type filter hook input priority 0; }",
        "add rule ip seen input udp dport 5300 counter",
    ] {
        network.servers[0].check("nft", &[command]);
    }
    let probes = || {
        let listing = network.servers[0].check("nft", &["-j", "list", "table", "ip", "seen"]);
        let packets = listing.split("\"packets\":").nth(1).expect("a counter").trim_start();
        packets
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .and_then(|it| it.parse::<u64>().ok())
            .expect("a number")
    };
    let device = network.director.check("ip", &["-o", "address", "show", "to", vip]);
    let device = device.split_whitespace().nth(1).expect("an interface with the VIP").to_owned();
    let daemon = ipvsd(&network, &text);
    wait_for_weights(&network, Family::V4, &[1, 1]);
    network.director.check("ip", &["address", "delete", &format!("{vip}/32"), "dev", &device]);
    daemon.wait_for("no VIP is here", LIMIT);
    for what in ["status", "explain"] {
        let (_, said, complaint) = command(&network.director, &[what, "echo"]);
        assert!(said.contains("suspended: none of its VIPs is here"), "{what}: {said}{complaint}");
    }
    let before = probes();
    servers[1].kill();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(probes() <= before + 1, "one may have been on its way: {before}, {}", probes());
    wait_for_weights(&network, Family::V4, &[1, 1]);
    network.director.check("ip", &["address", "add", &format!("{vip}/32"), "dev", &device]);
    wait_for_weights(&network, Family::V4, &[1, 0]);
    wait_until(LIMIT, "probes again", || probes() > before + 2);
}

fn timeouts() {
    let network = Network::new(1);
    let _echoes = echoes(&network, 5300);
    let is = |wanted: &str| {
        wait_until(LIMIT, wanted, || {
            network.director.check("ipvsadm", &["-L", "--timeout"]).trim_end().ends_with(wanted)
        });
    };
    is("900 120 300");
    let more = format!("check = {PATIENT}");
    let text = format!(
        "on_stop = \"remove\"\n[kernel]\ntimeouts = {{ tcp = \"10m\", udp = \"1m\" }}\n{}",
        config(&network, Family::V4, 5300, &more)
    );
    let mut daemon = ipvsd(&network, &text);
    is("600 120 60");
    network.director.check("ipvsadm", &["--set", "0", "0", "77"]);
    is("600 120 60");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_exit(LIMIT);
    is("900 120 300");
}
