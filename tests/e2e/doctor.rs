//! `ipvsd doctor`: each trap is provoked on a real kernel, named by its finding and by no other, and gone when it is cured, where
//! the cure is a command by that very command. Where it all works, nothing is found.

mod filters;
mod healthy;
mod machine;
mod network;
mod probe;
mod table;

use std::path::Path;

use lab::{Daemon, Echo, Family, Network, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::setup::{LIMIT, PATIENT, command, echoes, ipvsd, servers, service, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    [healthy::tests(), machine::tests(), network::tests(), table::tests(), filters::tests(), probe::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// A network with servers that echo and ipvsd over them.
struct Ward {
    network: Network,
    echoes: Vec<Echo>,
    daemon: Daemon,
}

/// One service at both VIPs, and more lines.
fn config(network: &Network, more: &str) -> String {
    let [four, six] = Family::BOTH.map(|family| servers(network, family, 5300));
    format!(
        "[[service]]\nname = \"echo\"\nlisten = [\"{}\", \"{}\"]\nservers = [{four}, {six}]\ncheck = {PATIENT}\n{more}\n",
        service(Family::V4),
        service(Family::V6)
    )
}

impl Ward {
    /// So many servers, all up, and nothing to find.
    fn new(servers: usize, more: &str) -> Ward {
        Ward::with(servers, |network| config(network, more))
    }

    /// The same with this config.
    fn with(servers: usize, config: impl FnOnce(&Network) -> String) -> Ward {
        let network = Network::new(servers);
        let echoes = echoes(&network, 5300);
        let daemon = ipvsd(&network, &config(&network));
        wait_until_all_up(&network, 2);
        let ward = Ward { network, echoes, daemon };
        wait_until(LIMIT, "nothing is found", || ward.findings(&[]).is_empty());
        ward
    }

    /// What the doctor finds.
    fn findings(&self, more: &[&str]) -> Vec<Value> {
        findings(&self.network, &self.daemon.config_file(), more)
    }

    /// `provoke` brings these findings and no others, `cure` is given them, and nothing is found any more.
    fn named(&self, ids: &[&str], provoke: impl FnOnce(&Network), cure: impl FnOnce(&Network, &[Value])) {
        provoke(&self.network);
        cure(&self.network, &self.until(&[], ids));
        self.until(&[], &[]);
    }

    /// Waits until the doctor, with these arguments, finds these and no others.
    fn until(&self, more: &[&str], ids: &[&str]) -> Vec<Value> {
        let (mut found, mut before) = (Vec::new(), String::new());
        wait_until(LIMIT, &format!("{ids:?} are found"), || {
            found = self.findings(more);
            let same = names(&found) == ids;
            let now = names(&found).join(", ");
            if !same && now != before {
                println!("found {found:#?}");
                before = now;
            }
            same
        });
        found
    }
}

/// What the doctor finds with this config; its exit status says the same, and everything was looked at.
fn findings(network: &Network, config: &Path, more: &[&str]) -> Vec<Value> {
    let config = config.display().to_string();
    let arguments = [&["doctor", "--json", "--config", config.as_str()], more].concat();
    let (status, out, err) = command(&network.director, &arguments);
    let found: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(status, i32::from(!found.is_empty()), "{out}{err}");
    assert!(found.iter().all(|it| it["severity"] != "skipped"), "{found:#?}");
    found
}

/// Ends a daemon at once; the kernel goes on as it is.
fn kill(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
}

/// Their names, once each, in alphabetical order.
fn names(findings: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = findings.iter().filter_map(|it| it["id"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Runs the commands of a cure: those between backticks that begin with `program`, or, if there are none, whole lines.
fn run_cures(network: &Network, findings: &[Value], program: &str) {
    let mut commands = Vec::new();
    for finding in findings {
        let cure = finding["cure"].as_str().unwrap_or_default();
        let quoted = cure.split('`').skip(1).step_by(2).map(str::to_owned);
        commands.extend(quoted.chain(cure.lines().map(str::to_owned)).filter(|it| it.starts_with(program)));
    }
    assert!(!commands.is_empty(), "no command of {program} in {findings:#?}");
    commands.iter().for_each(|command| _ = network.director.check("sh", &["-c", command]));
}
