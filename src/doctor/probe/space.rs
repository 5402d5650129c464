//! The probe's client: a network namespace with an interface to the director. Gone when dropped.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::TABLE;
use crate::doctor::facts::Facts;
use crate::doctor::program;

const PREFIX: &str = "ipvsd-doctor-";

/// Networks for the director and the client, the first and second address of each. Nobody routes them: RFC 7335 and RFC 2544 for
/// IPv4, RFC 4193 for IPv6.
const FOUR: [(&str, &str, u8); 2] =
    [("192.0.0.1", "192.0.0.2", 29), ("198.18.255.249", "198.18.255.250", 29)];
const SIX: [(&str, &str, u8); 2] =
    [("fd69:7076:7364::1", "fd69:7076:7364::2", 64), ("fd69:7076:7365::1", "fd69:7076:7365::2", 64)];

/// The namespace, and what else the probe makes.
pub struct Space {
    name: String,
    four: IpAddr,
    six: IpAddr,
}

impl Space {
    /// Makes it, with addresses of the families of these VIPs that this machine neither has nor has a route for.
    ///
    /// # Errors
    /// What could not be made, and what ip(8) said.
    pub async fn make(facts: &Facts, vips: &[IpAddr]) -> Result<Space, String> {
        let mut routes = String::new();
        for family in ["-4", "-6"] {
            routes += &program::run("ip", &[family, "route", "show"]).await?;
        }
        let free = |networks: [(&'static str, &'static str, u8); 2]| {
            networks.into_iter().find(|(director, client, _)| {
                let used = |it: &str| facts.addresses.iter().any(|address| address.address.to_string() == it);
                // Of all their addresses the route would show this much.
                let stem = director.trim_end_matches(|c: char| c.is_ascii_hexdigit());
                !used(director) && !used(client) && !routes.lines().any(|route| route.starts_with(stem))
            })
        };
        let none = "this machine uses every network that the probe could take";
        // A machine without IPv6 lets nobody have an address of it.
        let wanted = |six: bool| vips.iter().any(|vip| vip.is_ipv6() == six);
        let pick = |six, networks: [_; 2]| match wanted(six) {
            true => free(networks).ok_or(none),
            false => Ok(networks[0]),
        };
        let (four, six) = (pick(false, FOUR)?, pick(true, SIX)?);
        let address = |text: &str| text.parse::<IpAddr>().map_err(|error| error.to_string());
        let name = format!("{PREFIX}{}", std::process::id());
        let space = Space { four: address(four.1)?, six: address(six.1)?, name };
        let (name, port) = (&space.name, space.port());
        let mut commands = vec![
            format!("netns add {name}"),
            format!("link add {port} type veth peer name eth0 netns {name}"),
            format!("link set {port} up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set eth0 up"),
        ];
        for (family, (director, client, prefix)) in [("-4", four), ("-6", six)] {
            if !wanted(family == "-6") {
                continue;
            }
            let nodad = if family == "-6" { " nodad" } else { "" };
            commands.push(format!("addr add {director}/{prefix} dev {port}{nodad}"));
            commands.push(format!("-n {name} addr add {client}/{prefix} dev eth0{nodad}"));
            commands.push(format!("-n {name} {family} route add default via {director}"));
        }
        for command in &commands {
            program::run("ip", &command.split(' ').collect::<Vec<_>>()).await?;
        }
        Ok(space)
    }

    /// Its address of the family of `like`.
    pub fn client(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { self.four } else { self.six }
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// The director's interface.
    fn port(&self) -> String {
        format!("ipvsd{}", std::process::id())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        quietly("nft", &["delete", "table", "inet", TABLE]);
        quietly("ip", &["link", "del", &self.port()]);
        quietly("ip", &["netns", "del", &self.name]);
    }
}

/// Takes away what probes made that were killed.
pub fn remove_stale() {
    let namespaces = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in namespaces.filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok());
        let gone =
            |process: u32| process == std::process::id() || !Path::new(&format!("/proc/{process}")).exists();
        if process.is_some_and(gone) {
            // The interface goes with it.
            quietly("ip", &["netns", "del", &name]);
        }
    }
    quietly("nft", &["delete", "table", "inet", TABLE]);
}

/// What is not there need not be removed.
fn quietly(program: &str, arguments: &[&str]) {
    let _ = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
