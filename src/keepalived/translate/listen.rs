//! Where a virtual server listens: its address or mark, or all of its group, each range address by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::model::{Family, Lvs, Member, Protocol, Target, VirtualServer};
use super::super::place::Place;
use super::Notes;
use super::document::Item;

/// So many addresses a group may have.
const MOST: u128 = 65_536;

/// `listen`, and the places of groups that cannot be used are in the notes.
pub fn listen(server: &VirtualServer, lvs: &Lvs, notes: &mut Notes) -> Vec<Item> {
    let protocol = match server.protocol.as_ref().map(|protocol| protocol.value) {
        Some(Protocol::Tcp) => "/tcp",
        Some(Protocol::Sctp) => "/sctp",
        Some(Protocol::Udp) | None => "",
    };
    let address = |address: IpAddr, port: u16, place: Place| {
        Item::new(format!("{}{protocol}", SocketAddr::new(address, port)), place)
    };
    let mark = |mark: u32, family: Option<Family>, place: Place| {
        let family = if family == Some(Family::Inet6) { "/ipv6" } else { "" };
        Item::new(format!("fwmark {mark}{family}"), place)
    };
    let name = match &server.target {
        Target::Address(ip, port) => return vec![address(*ip, *port, server.place)],
        Target::Fwmark(number) => return vec![mark(*number, server.family, server.place)],
        Target::Group(name) => name,
    };
    // A group that is missing makes no virtual server.
    let groups = lvs.groups.iter().filter(|group| group.name.value == *name);
    let mut items = Vec::new();
    for member in groups.flat_map(|group| &group.members) {
        match member.value {
            Member::Addresses { first, last, port } if count(first, last) <= MOST => {
                items.extend(between(first, last).map(|ip| address(ip, port, member.place)));
            }
            Member::Addresses { .. } => {
                let said = format!("the range has more than {MOST} addresses: use a firewall mark for it");
                notes.refused(member.place, "virtual_server_group", said);
            }
            Member::Fwmark { mark: number, family } => {
                items.push(mark(number, family.or(server.family), member.place));
            }
        }
    }
    if items.len() as u128 > MOST {
        let said = format!("`{name}` has more than {MOST} addresses: use a firewall mark for them");
        notes.refused(server.place, "virtual_server", said);
        items.clear();
    }
    items
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn count(first: IpAddr, last: IpAddr) -> u128 {
    (number(last) - number(first)).saturating_add(1)
}

fn between(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    (number(first)..=number(last)).map(move |number| match first {
        IpAddr::V4(_) => Ipv4Addr::from_bits(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    })
}
