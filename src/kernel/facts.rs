//! Reads the facts that [`super::preflight`] judges.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::preflight::{Facts, addresses, keys};
use super::sysctl;
use crate::core::model::Config;

/// Reads everything but the number of foreign services, which netlink tells.
///
/// # Errors
/// A sysctl or the routes could not be read.
pub fn read(config: &Config, foreign_services: usize) -> io::Result<Facts> {
    let interfaces = interfaces()?;
    let mut sysctls = BTreeMap::new();
    for key in keys(&interfaces) {
        if let Some(value) = sysctl::get(&key)? {
            sysctls.insert(key, value);
        }
    }
    let (vips, servers) = addresses(config);
    let routes = Route::parse_all(&fs::read_to_string("/proc/net/route")?);
    let link = |server: IpAddr| match server {
        IpAddr::V4(server) => Route::to(&routes, server).map(|route| route.interface.clone()),
        IpAddr::V6(_) => None,
    };
    Ok(Facts {
        sysctls,
        foreign_services,
        absent_vips: vips.difference(&here(&vips)?).copied().collect(),
        server_links: servers.into_iter().filter_map(|server| Some((server, link(server)?))).collect(),
        client_links: client_links(&routes),
        keepalived: keepalived(),
    })
}

/// Which of these are addresses of this machine.
///
/// # Errors
/// The interfaces could not be read.
pub fn here(addresses: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<IpAddr>> {
    let own = own_addresses()?;
    Ok(addresses.iter().copied().filter(|it| own.contains(it) || is_routed_here(*it)).collect())
}

/// The processes of keepalived that have this network namespace and do more than VRRP. One whose namespace may not be read
/// counts, since a daemon that is not root may read that of no other; one that has ended, or is hidden, does not.
fn keepalived() -> BTreeSet<u32> {
    let namespace = |process: &str| Some(fs::metadata(format!("/proc/{process}/ns/net")).ok()?.ino());
    let manages = |process: &str| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim_end() == "keepalived")
            && namespace(process).is_none_or(|its| Some(its) == namespace("thread-self"))
            && !fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|command| only_vrrp(&command))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number: &u32| manages(&number.to_string())).collect()
}

/// Whether the options of a keepalived, each ended by a zero byte, have it run VRRP and no checkers.
fn only_vrrp(command: &[u8]) -> bool {
    command.split(|byte| *byte == 0).any(|option| [b"-P".as_slice(), b"--vrrp"].contains(&option))
}

fn interfaces() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc/sys/net/ipv4/conf")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !["all", "default", "lo"].contains(&name.as_str()));
    Ok(names)
}

/// The addresses of all interfaces.
fn own_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(getifaddrs()?.filter_map(|interface| ip(interface.address?)).collect())
}

/// Whether a local route has it without any interface having it (`ip route add local`): to such an address the machine speaks from that
/// very address. (To bind it proves nothing where `ip_nonlocal_bind` is on, as on many a director.) Nothing is sent.
fn is_routed_here(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == address)
}

fn client_links(routes: &[Route]) -> BTreeSet<String> {
    let all: BTreeSet<String> = routes.iter().map(|route| route.interface.clone()).collect();
    let default = routes.iter().filter(|route| route.mask == 0).map(|route| route.interface.clone());
    if all.len() == 1 { all } else { default.collect() }
}

/// One line of `/proc/net/route`: the IPv4 main table.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    destination: u32,
    mask: u32,
}

impl Route {
    /// Lines that are not understood are left out. Addresses there are hexadecimal words in host order of
    /// what lies in memory in network order.
    fn parse_all(text: &str) -> Vec<Self> {
        let number = |field: Option<&str>| u32::from_str_radix(field?, 16).ok().map(u32::to_be);
        let route = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            Some(Self {
                interface: (*fields.first()?).to_owned(),
                destination: number(fields.get(1).copied())?,
                mask: number(fields.get(7).copied())?,
            })
        };
        text.lines().skip(1).filter_map(route).collect()
    }

    /// The most specific route to `address`.
    fn to(routes: &[Self], address: Ipv4Addr) -> Option<&Self> {
        let matches = routes.iter().filter(|route| u32::from(address) & route.mask == route.destination);
        matches.max_by_key(|route| route.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
rubbish
";

    #[test]
    fn a_keepalived_that_does_only_vrrp_is_told_from_one_that_checks() {
        assert!(only_vrrp(b"/usr/sbin/keepalived\0--dont-fork\0-P\0"));
        assert!(only_vrrp(b"keepalived\0--vrrp\0"));
        assert!(!only_vrrp(b"/usr/sbin/keepalived\0--dont-fork\0-f\0/etc/P\0"));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_most_specific_route_wins() {
        let routes = Route::parse_all(TABLE);
        assert_eq!(routes.len(), 2);
        let link = |address: &str| &Route::to(&routes, address.parse().unwrap()).unwrap().interface;
        assert_eq!(link("10.0.1.11"), "eth1");
        assert_eq!(link("192.0.2.1"), "eth0");
        assert_eq!(client_links(&routes), BTreeSet::from(["eth0".to_owned()]));
    }
}
