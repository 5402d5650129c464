//! What ipvsd leans on fails for a while: it is said once, tried again, and over without a restart. Meanwhile the kernel
//! goes on forwarding, and what does not need it goes on, too.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::{Burst, Daemon, Echo, Family, Network, case, case_in_vm, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::capability::set_net_admin;
use crate::setup::{IPVSD, LIMIT, PATIENT, config, echoes, ipvsd, service, wait_for_weights};
use crate::traffic::Traffic;

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        case("faults::nft_is_missing_or_refuses", nft),
        case("faults::an_end_comes_although_nft_refuses", end),
        case("faults::notifications_of_nftables_are_lost", overrun),
        case("faults::the_state_directory_is_full_or_read_only", state),
        case_in_vm("faults::the_module_is_unloaded", module),
    ];
    if cfg!(target_arch = "x86_64") {
        tests.push(case("faults::the_kernel_refuses_ipvs", refused));
    }
    tests
}

fn text(network: &Network) -> String {
    config(network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"1s\""))
}

fn count(daemon: &Daemon, said: &str) -> usize {
    daemon.lines().iter().filter(|line| line.contains(said)).count()
}

/// Waits until `said` is in the log, and for so many replies more: it is still there once.
fn said_once(daemon: &Daemon, traffic: &Traffic, said: &str) {
    daemon.wait_for(said, LIMIT);
    traffic.replies(1500);
    assert_eq!(count(daemon, said), 1, "{said}");
}

/// An `nft` of the daemon's own, which can be made to fail.
pub struct Nft {
    dir: TempDir,
    real: String,
}

impl Nft {
    pub fn new(network: &Network) -> Nft {
        let real = network.director.check("sh", &["-c", "command -v nft"]).trim().to_owned();
        let nft = Nft { dir: tempfile::tempdir().expect("a temporary directory"), real };
        nft.works();
        nft
    }

    pub fn script(&self, name: &str, line: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        // A new file: the old one may be running.
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).expect("writing a script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its mode");
        path
    }

    /// It notes what it is asked, and does it.
    fn works(&self) {
        let log = self.dir.path().join("runs");
        let new =
            self.script("nft.new", &format!("echo \"$@\" >> {}\nexec {} \"$@\"", log.display(), self.real));
        fs::rename(new, self.dir.path().join("nft")).expect("renaming it");
    }

    fn runs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("runs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A program that is ipvsd with this `nft` in its `PATH`, and nothing else.
    pub fn ipvsd(&self) -> PathBuf {
        self.script("ipvsd", &format!("PATH={} exec {IPVSD} \"$@\"", self.dir.path().display()))
    }
}

fn end() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let nft = Nft::new(&network);
    let text = format!("on_stop = \"remove\"\n{}", text(&network));
    let mut daemon = Daemon::start(&network.director, nft.ipvsd(), &text);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    nft.script("nft", "exit 1");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_exit(LIMIT).code(), Some(1));
    assert!(reading::services(&network.director).is_empty(), "what can be removed is");
    daemon.wait_for("left in the kernel: the reply rules (cannot list the table ip ipvsd", LIMIT);
    assert!(!network.director.check("nft", &["list", "table", "ip", "ipvsd"]).is_empty());
}

/// The reply rules, without the set of servers that have refused something of late, which is the kernel's to fill.
fn reply_rules(network: &Network) -> String {
    let parts = [
        "map ip ipvsd sources",
        "set ip ipvsd replies",
        "set ip ipvsd requests",
        "chain ip ipvsd postrouting",
    ];
    let list = |part: &str| {
        let words: Vec<&str> = ["-s", "list"].into_iter().chain(part.split(' ')).collect();
        reading::uncounted(&network.director.check("nft", &words))
    };
    parts.map(list).concat()
}

fn nft() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let nft = Nft::new(&network);
    let daemon = Daemon::start(&network.director, nft.ipvsd(), &text(&network));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let rules = || reply_rules(&network);
    let good = rules();
    let damage = || network.director.nft("delete element ip ipvsd sources { 10.0.1.13 . 5300 }");
    let changed = || count(&daemon, "reply rules changed");
    let traffic = Traffic::start(&network);
    traffic.calm();

    let since = Instant::now();
    let (runs, changes) = (nft.runs().len(), changed());
    for more in 1..=3 {
        damage();
        wait_until(LIMIT, "repair", || changed() == changes + more);
    }
    // For each repair one look that finds it, the change, and one look that it is done; perhaps one from before.
    let runs = nft.runs().split_off(runs);
    let looks = runs.iter().filter(|run| run.ends_with("list table ip ipvsd")).count();
    let changes = runs.iter().filter(|run| run.ends_with("-f -")).count();
    assert!(changes == 3 && looks <= 7, "{runs:#?}");

    let path = nft.dir.path().join("nft");
    for (what, said) in [
        (
            "missing",
            "cannot list the table ip ipvsd: there is no `nft` in PATH; install the package nftables",
        ),
        ("not permitted", "cannot list the table ip ipvsd: not permitted; run as root or with CAP_NET_ADMIN"),
    ] {
        if what == "missing" {
            fs::remove_file(&path).expect("removing it");
        } else {
            let line = format!("exec /usr/bin/setpriv --bounding-set=-net_admin {} \"$@\"", nft.real);
            nft.script("nft", &line);
        }
        let (works, before) = (count(&daemon, "works again"), changed());
        damage();
        said_once(&daemon, &traffic, said);
        assert_ne!(rules(), good, "{what}: nobody can repair it");
        if what == "missing" {
            // Verdicts do not wait for it.
            servers[1].kill();
            wait_for_weights(&network, FAMILY, &[1, 0, 1]);
            servers[1] =
                Echo::start(&network.servers[1], "s1", &["10.0.1.12:5300".parse().expect("an address")]);
            wait_for_weights(&network, FAMILY, &[1, 1, 1]);
        }
        nft.works();
        wait_until(LIMIT, what, || changed() > before && count(&daemon, "works again") > works);
        assert_eq!(rules(), good, "{what}: repaired");
        traffic.replies(300);
    }
    let until = Instant::now();
    traffic.replies(500);
    let (flow, _, entries) =
        traffic.stop_astray("nft missing, not permitted, while a rule is deleted; a server killed");
    assert_eq!(entries, Vec::<String>::new());
    let wrong = flow.answered.replies.iter().filter(|reply| reply.source != service(FAMILY));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.iter().all(|reply| (since..until).contains(&reply.at)), "replies from elsewhere outside");
    assert!(wrong.iter().all(|reply| reply.server == "s2"), "only the server whose rule was gone");
    assert!(!wrong.is_empty(), "the rule was gone for a while");
}

/// Datagrams that the kernel dropped for want of room, of all sockets of nftables in the director's namespace that hear
/// notifications.
fn dropped(network: &Network) -> u64 {
    let table =
        network.director.run(|| fs::read_to_string("/proc/thread-self/net/netlink")).expect("its sockets");
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; 12 is NETLINK_NETFILTER.
        (words.get(1) == Some(&"12") && words[3] != "00000000")
            .then(|| words[8].parse::<u64>().expect("drops"))
    };
    table.lines().filter_map(of).sum()
}

fn overrun() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &text(&network));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let rules = || reply_rules(&network);
    let good = rules();
    let traffic = Traffic::start(&network);
    traffic.calm();
    daemon.signal(Signal::SIGSTOP);
    let comment = "x".repeat(120);
    let elements: Vec<String> = (0..4000)
        .map(|number| format!("10.{}.{}.1 comment \"{comment}\"", number / 200, number % 200))
        .collect();
    let elements = format!("add element ip other s {{ {} }}\nflush set ip other s", elements.join(", "));
    network.director.nft("table ip other { set s { type ipv4_addr; }; }");
    let mut rounds = 0;
    while dropped(&network) == 0 {
        rounds += 1;
        assert!(rounds < 60, "no notification was dropped");
        network.director.nft(&elements);
    }
    let since = Instant::now();
    network.director.nft("delete element ip ipvsd sources { 10.0.1.13 . 5300 }");
    let dropped = dropped(&network);
    assert_ne!(rules(), good);
    daemon.signal(Signal::SIGCONT);
    daemon.wait_for("drift, repaired: somebody else changed the reply rules", LIMIT);
    wait_until(LIMIT, "repair", || rules() == good);
    let until = Instant::now();
    println!(
        "measured: {dropped} notifications dropped in {rounds} rounds, repaired after {:?}",
        until - since
    );
    traffic.replies(500);
    let (flow, _, entries) = traffic.stop_astray("notifications of nftables overrun while ipvsd was stopped");
    assert_eq!(entries, Vec::<String>::new());
    let wrong = flow.answered.replies.iter().filter(|reply| reply.source != service(FAMILY));
    assert!(
        wrong.into_iter().all(|reply| (since..until).contains(&reply.at)),
        "replies from elsewhere outside"
    );
    assert_eq!(flow.answered.lost, [0; 0]);
}

/// A small file system; gone when dropped.
pub struct Small(PathBuf);

impl Small {
    /// In place of this directory.
    pub fn new(at: PathBuf) -> Small {
        fs::create_dir_all(&at).expect("the directory");
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).expect("mounting it");
        Small(at)
    }

    fn read_only(&self, yes: bool) {
        let read_only = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_REMOUNT | read_only, None::<&str>)
            .expect("remounting it");
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        while file.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives it back.
    pub fn clear(&self) {
        fs::remove_file(self.0.join("filler")).expect("removing it");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn state() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let disk = Small::new(network.director.runtime_directory());
    let one = text(&network);
    let more = |port: u16| {
        format!(
            "[[service]]\nname = \"more-{port}\"\nlisten = \"192.0.2.53:{port}\"\ncheck = \"none\"\n\
             servers = [\"10.0.1.11:{port}\"]\nops = false\ndrain = \"1s\"\n"
        )
    };
    let weights = |port: u16| reading::weights(&network.director, &format!("udp 192.0.2.53:{port}"));
    let mut daemon = ipvsd(&network, &one);
    let reload = |daemon: &Daemon, text: &str| {
        fs::write(daemon.config_file(), text).expect("writing the config");
        daemon.signal(Signal::SIGHUP);
    };
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let traffic = Traffic::start(&network);
    traffic.calm();
    let two = [one.as_str(), &more(54)].concat();
    let three = [two.as_str(), &more(55)].concat();
    for (port, text, errno) in [(54, &two, "No space left on device"), (55, &three, "Read-only file system")]
    {
        if port == 54 {
            disk.fill()
        } else {
            disk.read_only(true)
        }
        let works = count(&daemon, "the state file works again");
        reload(&daemon, text);
        wait_until(LIMIT, "the new service", || weights(port) == [1]);
        said_once(&daemon, &traffic, errno);
        if port == 54 {
            disk.clear()
        } else {
            disk.read_only(false)
        }
        wait_until(LIMIT, "the state file", || count(&daemon, "the state file works again") == works + 1);
    }
    assert_eq!(count(&daemon, "cannot write the state file"), 2);
    // A VIP is taken from the file: it goes with its servers.
    reload(&daemon, &two);
    wait_until(LIMIT, "the service goes", || {
        !network.director.check("ipvsadm", &["-Sn"]).contains(&format!("{}:55 ", vip(FAMILY)))
    });
    // What could not be written then is known after a crash.
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    let _daemon = ipvsd(&network, &one);
    wait_until(LIMIT, "what ipvsd created goes", || weights(54).is_empty());
    traffic.watch.wait(&[1, 1, 1]);
    traffic.replies(300);
    let flow = traffic.stop("the state directory full, then read-only, then a crash");
    assert_eq!(flow.answered.lost, [0; 0]);
}

/// The program that the kernel runs to load modules; as it was when dropped.
struct NoModules(String);

impl NoModules {
    const FILE: &str = "/proc/sys/kernel/modprobe";

    fn new() -> NoModules {
        let program = fs::read_to_string(Self::FILE).expect(Self::FILE);
        fs::write(Self::FILE, "/bin/false").expect(Self::FILE);
        NoModules(program)
    }
}

impl Drop for NoModules {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, &self.0);
    }
}

/// No traffic while the module goes and comes: the emulated processors have been seen to run on for ever in code of the kernel
/// that it patches then.
fn module() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &text(&network));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let serves = || {
        let answered = Burst::new(service(FAMILY), 300).run(network.client());
        assert_eq!((answered.lost.len(), answered.spread()), (0, vec![100; 3]));
        assert_eq!(answered.sources(), [service(FAMILY)].into());
        assert!(reading::connections(&network.director).is_empty());
    };
    serves();
    let said = "the kernel has no IPVS: load it with `modprobe ip_vs`";
    for by_hand in [true, false] {
        let before = (count(&daemon, said), count(&daemon, "works again"));
        let no_modules = NoModules::new();
        let since = Instant::now();
        // ipvsd may have put the service back in between, and namespaces of other tests may be about to go.
        wait_until(LIMIT, "ip_vs is unloaded", || {
            let unload = "ipvsadm -C; cd /sys/module/ip_vs/holders && rmmod -- * ip_vs || rmmod ip_vs";
            network.director.output("sh", &["-c", unload]);
            !PathBuf::from("/sys/module/ip_vs").exists()
        });
        // Seen once: nothing for 30 s. What is asked of a module that goes at that moment may be lost until a time-out.
        wait_until(4 * LIMIT, said, || count(&daemon, said) > before.0);
        // Long enough for a few more tries, of which nothing is said.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(count(&daemon, said), before.0 + 1, "it is said once");
        assert_eq!(count(&daemon, "works again"), before.1);
        drop(no_modules);
        // Since Linux 6.1 the next look loads it.
        if by_hand || !autoloads() {
            network.director.check("modprobe", &["ip_vs"]);
        }
        wait_until(LIMIT, "it works", || count(&daemon, "works again") > before.1);
        wait_for_weights(&network, FAMILY, &[1, 1, 1]);
        let until = Instant::now();
        let found = reading::services(&network.director);
        assert_eq!((found[0].scheduler.as_str(), found[0].ops), ("rr", true));
        println!("measured: ip_vs was away for {} ms", (until - since).as_millis());
        serves();
    }
}

/// Whether the kernel loads `ip_vs` for whoever asks for its netlink family.
fn autoloads() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(1))
}

fn refused() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &text(&network));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let traffic = Traffic::start(&network);
    traffic.calm();
    set_net_admin(daemon.id(), false);
    let vip = service(FAMILY).to_string();
    let weight = ["-e", "-u", &vip, "-r", "10.0.1.12:5300", "-m", "-w", "5"];
    network.director.check("ipvsadm", &weight);
    said_once(&daemon, &traffic, "not permitted: IPVS needs CAP_NET_ADMIN");
    wait_for_weights(&network, FAMILY, &[1, 5, 1]);
    set_net_admin(daemon.id(), true);
    daemon.wait_for("works again", LIMIT);
    daemon.wait_for("drift, repaired", LIMIT);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    traffic.replies(500);
    let flow = traffic.stop("CAP_NET_ADMIN taken from ipvsd for a while");
    assert_eq!(flow.answered.lost, [0; 0]);
}
