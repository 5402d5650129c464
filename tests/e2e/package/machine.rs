//! A machine with a real systemd and a fresh Debian on it: a container in the director's network namespace. Its root is the
//! guest's disk, with a file system in memory above it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use lab::{Netns, Process, wait_until};

use crate::setup::{IPVSD, LIMIT};

/// Long enough for a whole Debian to boot on a slow guest.
const BOOT: Duration = Duration::from_secs(180);

/// A name of its own in the tree of cgroups, then namespaces of its own for all but the network.
const OUTSIDE: &str = "mkdir -p /sys/fs/cgroup/machine && echo $$ > /sys/fs/cgroup/machine/cgroup.procs && \
    exec unshare --mount --propagation private --pid --fork --kill-child --cgroup --uts --ipc sh -ec \"$1\"";

/// Nothing of what the guest's Debian has for other tests is started, and dpkg leaves no documentation out. systemd expects of those
/// who start a container that its mounts are shared: without that it hands no credentials over.
const INSIDE: &str = "
d=$(mktemp -d)
mount -t tmpfs machine $d
mkdir $d/disk $d/upper $d/work $d/root
mount -t ext2 -o ro /dev/vda $d/disk
mount -t overlay -o lowerdir=$d/disk,upperdir=$d/upper,workdir=$d/work machine $d/root
cd $d/root
rm -rf etc/systemd/system/*.wants etc/rc?.d etc/dpkg/dpkg.cfg.d/* usr/sbin/policy-rc.d
echo machine > etc/hostname
mkdir -p packages usr/lib/modules
mount --rbind /dev dev
mount --rbind /usr/lib/modules usr/lib/modules
mount --bind PACKAGES packages
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
";

/// A running machine; ended when dropped. On a panic of the test it prints its journal of ipvsd.
pub struct Machine<'n> {
    netns: &'n Netns,
    first: String,
    _process: Process,
}

/// A Debian package of the program under test, as the machine sees it: `tests/run` builds both.
pub fn package(revision: u32) -> String {
    format!("/packages/ipvsd-{revision}.deb")
}

fn packages() -> PathBuf {
    Path::new(IPVSD).with_file_name("packages")
}

impl<'n> Machine<'n> {
    /// Boots one.
    pub fn boot(netns: &'n Netns) -> Machine<'n> {
        assert!(packages().is_dir(), "no package in {}: see what its build said", packages().display());
        let inside = INSIDE.replace("PACKAGES", &packages().display().to_string());
        let mut command = std::process::Command::new("sh");
        command.args(["-ec", OUTSIDE, "sh", &inside]);
        let process = Process::start(netns, &mut command);
        let mut machine = Machine { netns, first: String::new(), _process: process };
        let children = format!("/proc/{0}/task/{0}/children", machine._process.id());
        wait_until(LIMIT, "the machine's first process is systemd", || {
            let text = fs::read_to_string(&children).unwrap_or_default();
            machine.first = text.trim().to_owned();
            let name = fs::read_to_string(format!("/proc/{}/comm", machine.first)).unwrap_or_default();
            name.trim_end() == "systemd"
        });
        wait_until(BOOT, "the machine has booted", || {
            let said = machine.run(&["systemctl", "is-system-running"]).stdout;
            ["running\n", "degraded\n"].iter().any(|state| said == state.as_bytes())
        });
        machine
    }

    /// Runs a command in the machine to its end.
    pub fn run(&self, command: &[&str]) -> Output {
        let enter = ["--target", &self.first, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"];
        self.netns.output("nsenter", &[&enter[..], command].concat())
    }

    /// Runs a command that has to succeed; what it said.
    pub fn check(&self, command: &[&str]) -> String {
        let (success, said) = self.try_to(command);
        assert!(success, "{} failed: {said}", command.join(" "));
        said
    }

    /// Runs a command; whether it succeeded, and what it said.
    pub fn try_to(&self, command: &[&str]) -> (bool, String) {
        let output = self.run(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Writes a file of the machine, and makes the directory for it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory of the machine");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A file of the machine, as the world outside of it names it.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Whether the machine has this file.
    pub fn has(&self, path: &str) -> bool {
        self.file(path).exists()
    }

    /// A property of the unit, as systemd has it.
    pub fn property(&self, name: &str) -> String {
        self.check(&["systemctl", "show", "--value", "--property", name, "ipvsd"]).trim_end().to_owned()
    }

    /// The daemon's process, as the world outside of the machine knows it.
    pub fn process(&self) -> u32 {
        let inside = self.property("MainPID");
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is = |number: &u32| {
            let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
            let mut its = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))
                .unwrap_or_default()
                .split_whitespace();
            its.clone().count() > 1
                && its.next_back() == Some(&inside)
                && status.starts_with("Name:\tipvsd\n")
        };
        numbers.find(is).unwrap_or_else(|| panic!("no process {inside} of the machine"))
    }

    /// The journal of the unit, systemd's lines about it among them.
    pub fn journal(&self, format: &str) -> String {
        self.check(&["journalctl", "--no-pager", "--unit", "ipvsd", "--output", format])
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (_, said) = self.try_to(&["journalctl", "--no-pager", "--unit", "ipvsd", "--lines", "60"]);
            eprintln!("--- the machine's journal of ipvsd:\n{said}");
        }
    }
}
