//! The guest's root: a Debian tree with the tools and the real peers, made by mmdebstrap into one read-only image.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::{cache, tool};

/// What is in the tree besides the essential packages.
const PACKAGES: [&str; 28] = [
    "bind9-dnsutils",
    "busybox-static",
    "chrony",
    "conntrack",
    "coturn",
    "dnsperf",
    "ethtool",
    "freeradius",
    "iproute2",
    "iptables",
    "iputils-ping",
    "ipvsadm",
    "kamailio",
    "keepalived",
    "kmod",
    "knot",
    "nftables",
    "nginx-light",
    "ngtcp2-server",
    "procps",
    "prometheus",
    "rsyslog",
    "snmpd",
    "strace",
    "systemd-sysv",
    "tcpdump",
    "tftpd-hpa",
    "unbound",
];

/// A prepared root.
pub struct Root {
    dir: PathBuf,
}

impl Root {
    /// Finds the root in the cache, or makes it.
    pub fn prepare(cache: &Path) -> Result<Root, String> {
        let suite = suite()?;
        let mut hash = DefaultHasher::new();
        PACKAGES.hash(&mut hash);
        let dir = cache.join(format!("root-{suite}-{:016x}", hash.finish()));
        if !dir.exists() {
            let what = format!("the guest's root: Debian {suite}, {} packages", PACKAGES.len());
            cache::make(&dir, &what, |new| bootstrap(suite, new))?;
        }
        Ok(Root { dir })
    }

    /// An ext2 image.
    pub fn image(&self) -> PathBuf {
        self.dir.join("root.ext2")
    }

    /// A busybox that needs no library.
    pub fn busybox(&self) -> PathBuf {
        self.dir.join("busybox")
    }

    /// Where the tree came from: the address of a Debian mirror.
    pub fn mirror(&self) -> Result<String, String> {
        let path = self.dir.join("sources.list");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let address = text.split_whitespace().find(|word| word.contains("://"));
        address.map(str::to_owned).ok_or_else(|| format!("{} names no mirror", path.display()))
    }
}

/// Programs built here run in the guest if its C library is not older than ours.
fn suite() -> Result<&'static str, String> {
    let text = cache::run(tool("getconf").arg("GNU_LIBC_VERSION"))?;
    let version = text.trim().rsplit_once("2.").and_then(|(_, minor)| minor.parse::<u32>().ok());
    match version {
        Some(..=36) => Ok("bookworm"),
        Some(37..=41) => Ok("trixie"),
        _ => Err(format!("no Debian root has a C library as new as this machine's ({})", text.trim())),
    }
}

/// The Debian mirror that this machine's apt uses, if it is a Debian.
fn machines_mirror() -> Option<String> {
    let format = ["indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"];
    let text = cache::run(tool("apt-get").args(format)).ok()?;
    let of_debian = |line: &str| {
        let (origin, rest) = line.split_once(" main ")?;
        (origin == "Debian" && !rest.contains("security")).then(|| rest.trim_end_matches('/').to_owned())
    };
    text.lines().find_map(of_debian)
}

fn bootstrap(suite: &str, into: &Path) -> Result<(), String> {
    let mut command = tool("mmdebstrap");
    command.args(["--quiet", "--variant=apt", "--format=ext2"]);
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command.args(
        ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]
            .map(|what| format!("--dpkgopt=path-exclude={what}")),
    );
    let out = into.display();
    command.arg(format!("--customize-hook=copy-out /bin/busybox /etc/apt/sources.list '{out}'"));
    // Without a mirror of our own mmdebstrap takes its default one.
    command.arg(suite).arg(into.join("root.ext2")).args(machines_mirror());
    cache::run(&mut command).map(drop)
}
