//! What is wrong with the machine itself: its kernel is old, its NIC has one queue, it has no IPv6.

use lab::{Family, Network, case, case_in_vm, wait_until};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{Ward, names};
use crate::setup::{IPVSD, LIMIT, PATIENT, config, echoes, ipvsd, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::an_old_kernel", old_kernel),
        case_in_vm("doctor::a_nic_with_one_queue", one_queue),
        case("doctor::a_probe_where_there_is_no_ipv6", without_ipv6),
    ]
}

/// A kernel that says of itself that it is older than it is: the doctor sees another file in place of its release.
fn old_kernel() {
    let ward = Ward::new(1, "");
    let found = |release: &str| -> Vec<Value> {
        let config = ward.daemon.config_file().display().to_string();
        let script = "set -e; release=$(mktemp); echo \"$0\" > $release; mount --bind $release /proc/sys/kernel/osrelease; \
                      rm $release; exec \"$@\"";
        let doctor = [IPVSD, "doctor", "--json", "--config", &config];
        let arguments = [&["--mount", "sh", "-c", script, release][..], &doctor].concat();
        let output = ward.network.director.output("unshare", &arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let old = found("5.8.0-1-amd64");
    assert_eq!(names(&old), ["old-kernel"], "{old:#?}");
    assert!(old[0]["seen"].as_str().is_some_and(|seen| seen.contains("5.8.0-1-amd64")), "{old:#?}");
    assert_eq!(found("5.10.0-1-amd64"), [] as [Value; 0]);
}

/// A NIC that is none, but for the kernel is one: an Ethernet gadget on a USB controller that is none either. The doctor looks at
/// it where it is, in the machine's own namespace.
fn one_queue() {
    let network = Network::new(1);
    let text = config(&network, Family::V4, 5300, &format!("check = {PATIENT}"));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writing the config");
    let run = |command: &str| {
        let output = std::process::Command::new("sh").args(["-ec", command]).output().expect("a shell");
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    struct Gadget;
    impl Drop for Gadget {
        fn drop(&mut self) {
            let _ = std::process::Command::new("modprobe").args(["-r", "g_ether", "dummy_hcd"]).status();
        }
    }
    let _gadget = Gadget;
    run("modprobe dummy_hcd; modprobe g_ether");
    let mut nic = String::new();
    wait_until(LIMIT, "the NIC", || {
        let nics = run(
            "cd /sys/class/net; for nic in *; do [ ! -e $nic/device/gadget ] || echo $nic; done; for nic in usb*; do echo $nic; done",
        );
        nic = nics.lines().next().unwrap_or_default().to_owned();
        !nic.is_empty() && !nic.contains('*')
    });
    run(&format!("ip link set {nic} up"));
    let one_queue = || -> Vec<Value> {
        let config = file.path().display().to_string();
        let mut doctor = std::process::Command::new(IPVSD);
        let output = doctor.args(["doctor", "--json", "--config", &config]).output().expect("a doctor");
        let found: Vec<Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        found.into_iter().filter(|it| it["id"] == "one-queue").collect()
    };
    let found = one_queue();
    assert!(!found.is_empty(), "{nic}");
    assert!(
        found[0]["seen"]
            .as_str()
            .is_some_and(|seen| seen.starts_with(&format!("{nic} has one receive queue"))),
        "{found:#?}"
    );
    for finding in &found {
        let cure = finding["cure"].as_str().unwrap_or_default();
        let spread = cure.split('`').find(|it| it.starts_with("echo ")).unwrap_or_else(|| panic!("{cure}"));
        run(spread);
    }
    assert_eq!(one_queue(), [] as [Value; 0], "by software it is spread over processors");
}

/// A director whose administrator switched IPv6 off has clients of IPv4 all the same.
fn without_ipv6() {
    let network = Network::new(2);
    network.director.set_sysctl("net.ipv6.conf.all.disable_ipv6", "1");
    network.director.set_sysctl("net.ipv6.conf.default.disable_ipv6", "1");
    let echoes = echoes(&network, 5300);
    let daemon = ipvsd(&network, &config(&network, Family::V4, 5300, &format!("check = {PATIENT}")));
    wait_until_all_up(&network, 1);
    let ward = Ward { network, echoes, daemon };
    let file = ward.daemon.config_file().display().to_string();
    let (status, out, err) =
        crate::setup::command(&ward.network.director, &["doctor", "--probe", "--config", &file]);
    assert_eq!(status, 0, "{out}{err}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("4 replies came back, 4 got to the client from the VIP"), "{out}");
}
