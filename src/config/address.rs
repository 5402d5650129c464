//! Which addresses can be a VIP or a server. The kernel refuses the rest (`ip_vs_ctl.c`), or traffic to them.

use std::net::{IpAddr, Ipv4Addr};

use super::report::{Place, Problems};

/// An error if traffic cannot go to `address`, the `what` of the config.
pub fn judge(what: &str, address: IpAddr, place: Place, problems: &mut Problems) {
    let mapped = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    let (kind, help) = if let Some(v4) = mapped {
        ("an IPv4 address written as IPv6", format!("write it as IPv4: `{v4}`"))
    } else if address.is_unspecified() {
        ("the unspecified address", "name one address; IPVS has no wildcard".to_owned())
    } else if address.is_multicast() {
        ("a multicast address", "IPVS forwards unicast only".to_owned())
    } else if matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0) {
        ("in 0.0.0.0/8", "the kernel takes that for broadcasts: name an address of a machine".to_owned())
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        ("the broadcast address", "IPVS forwards unicast only".to_owned())
    } else if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        (
            "a link-local address",
            "the kernel takes global and unique local (fd00::/8) addresses only".to_owned(),
        )
    } else {
        return;
    };
    problems.error(place, format!("{what} {address} is {kind}")).help(help);
}
