//! The task that hears servers refuse client traffic: our rules hand the ICMP errors to an nflog group, copied from the wire
//! as they came. Nothing in them can be believed: they are hints.

use std::io;
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Icmpv4Type, Icmpv6Type, LaxSlicedPacket, TransportSlice, icmpv4::DestUnreachableHeader,
    icmpv6::DestUnreachableCode,
};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, ConfigNla, PacketNla, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr as NetlinkAddress, TokioSocket};
use nix::errno::Errno;

/// So many bytes of a packet are copied: two IP headers with all options that the rules let pass, ICMP and UDP.
const COPIED: u32 = 256;

/// A socket that gets what the rules of this network namespace log to `group`. The kernel gives a group to one socket at a time.
///
/// # Errors
/// In words, with the cure: the kernel has no nfnetlink_log, another program has the group, or the caller lacks CAP_NET_ADMIN.
pub fn listen(group: u16) -> Result<TokioSocket, String> {
    try_listen(group).map_err(|error| {
        let cure = match error.raw_os_error().map(Errno::from_raw) {
            // The kernel says the same of a group that is taken and of a caller who may not listen.
            Some(Errno::EPERM) => {
                "another program has it, or CAP_NET_ADMIN is missing; `nflog_group` chooses another one"
            }
            _ => "the kernel needs the module nfnetlink_log",
        };
        format!("cannot listen to nflog group {group}: {error} ({cure})")
    })
}

fn try_listen(group: u16) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind(&NetlinkAddress::new(0, 0))?;
    // Each packet at once: by default the kernel collects a hundred of them, or for a second.
    let settings = vec![
        ConfigNla::Cmd(ConfigCmd::Bind),
        ConfigNla::Mode(ConfigMode::new_packet(COPIED)),
        ConfigNla::QThresh(1),
    ];
    let request = config_request(NetfilterProtoFamily::Unspec, group, settings);
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.socket_mut().send_to(&bytes, &NetlinkAddress::new(0, 0), 0)?;
    // The kernel has answered when the request is sent.
    let (answer, _) = socket.socket_mut().recv_from_full()?;
    match NetlinkMessage::<NetfilterMessage>::deserialize(&answer).map(|message| message.payload) {
        Ok(NetlinkPayload::Error(error)) if error.code.is_none() => Ok(socket),
        Ok(NetlinkPayload::Error(error)) => Err(error.to_io()),
        _ => Err(io::Error::other("the kernel's answer is none")),
    }
}

/// Tells `refused` the address and port of every server that refuses client traffic, as long as the socket works.
pub async fn run(socket: TokioSocket, refused: impl Fn(SocketAddr)) {
    loop {
        match socket.recv_from_full().await {
            Ok((datagram, from)) if from.port_number() == 0 => packets(&datagram, |packet| {
                if let Some(server) = refusing_server(packet) {
                    refused(server);
                }
            }),
            Ok(_) => {}
            // Some were lost; more come while there is traffic.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => {
                tracing::error!(%error, "hints from client traffic are no longer heard: nflog failed");
                return;
            }
        }
    }
}

/// Hands on the packets in a datagram from the kernel.
fn packets(datagram: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = datagram;
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(rest) {
        if let NetlinkPayload::InnerMessage(message) = message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(attributes)) = message.inner
        {
            for attribute in attributes {
                if let PacketNla::Payload(packet) = attribute {
                    each(&packet);
                }
            }
        }
        rest = rest.get((message.header.length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
}

/// The address and port of the server that refuses a UDP datagram by this packet, which begins with its IP header and may be
/// cut off: an ICMP error "port unreachable" (RFC 792: 3/3, RFC 4443: 1/4) from the address to which the datagram in it went.
/// Anything else, whatever it is, gives `None`.
pub fn refusing_server(packet: &[u8]) -> Option<SocketAddr> {
    let error = LaxSlicedPacket::from_ip(packet).ok()?;
    let about = match error.transport.as_ref()? {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port) => icmp.payload(),
            _ => return None,
        },
        TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
            Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port) => icmp.payload(),
            _ => return None,
        },
        _ => return None,
    };
    let about = LaxSlicedPacket::from_ip(about).ok()?;
    let Some(TransportSlice::Udp(datagram)) = &about.transport else { return None };
    let [from, to] = [source_and_destination(&error)?.0, source_and_destination(&about)?.1];
    (from == to).then(|| SocketAddr::new(to, datagram.destination_port()))
}

fn source_and_destination(packet: &LaxSlicedPacket<'_>) -> Option<(IpAddr, IpAddr)> {
    match packet.net.as_ref()? {
        etherparse::LaxNetSlice::Ipv4(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        etherparse::LaxNetSlice::Ipv6(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    const CLIENT: [u8; 4] = [10, 0, 0, 2];
    const SERVER: [u8; 4] = [10, 0, 1, 11];

    fn six(four: [u8; 4]) -> [u8; 16] {
        let mut six = [0; 16];
        six[0] = 0xfd;
        six[12..].copy_from_slice(&four);
        six
    }

    fn datagram(v6: bool, to: [u8; 4]) -> Vec<u8> {
        let builder = match v6 {
            false => PacketBuilder::ipv4(CLIENT, to, 64),
            true => PacketBuilder::ipv6(six(CLIENT), six(to), 64),
        };
        let mut bytes = Vec::new();
        builder.udp(40_000, 5300).write(&mut bytes, &[7; 300]).unwrap();
        bytes
    }

    fn error(v6: bool, kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match v6 {
            false => PacketBuilder::ipv4(SERVER, CLIENT, 64)
                .icmpv4_raw(kind, code, [0; 4])
                .write(&mut bytes, about),
            true => PacketBuilder::ipv6(six(SERVER), six(CLIENT), 64)
                .icmpv6_raw(kind, code, [0; 4])
                .write(&mut bytes, about),
        }
        .unwrap();
        bytes
    }

    #[test]
    fn a_refusal_names_the_server_even_where_it_is_cut_off() {
        for (v6, kind, code, headers) in [(false, 3, 3, 20 + 8 + 20 + 8), (true, 1, 4, 40 + 8 + 40 + 8)] {
            let packet = error(v6, kind, code, &datagram(v6, SERVER));
            let server = SocketAddr::new(if v6 { six(SERVER).into() } else { SERVER.into() }, 5300);
            for length in 0..packet.len() {
                let expected = (length >= headers).then_some(server);
                assert_eq!(
                    refusing_server(&packet[..length]),
                    expected,
                    "{length} bytes of {}",
                    packet.len()
                );
            }
        }
    }

    #[test]
    fn everything_else_names_nobody() {
        for (v6, kind, code) in [(false, 3, 1), (false, 3, 4), (false, 11, 3), (true, 1, 3), (true, 3, 4)] {
            assert_eq!(refusing_server(&error(v6, kind, code, &datagram(v6, SERVER))), None, "{kind}/{code}");
        }
        // About a datagram to somebody else, about something that is not UDP, and no error at all.
        assert_eq!(refusing_server(&error(false, 3, 3, &datagram(false, [10, 0, 1, 12]))), None);
        let mut tcp = Vec::new();
        PacketBuilder::ipv4(CLIENT, SERVER, 64).tcp(40_000, 5300, 1, 1).write(&mut tcp, &[]).unwrap();
        assert_eq!(refusing_server(&error(false, 3, 3, &tcp)), None);
        assert_eq!(refusing_server(&datagram(false, SERVER)), None);
        // The second fragment of a datagram has no ports.
        let mut fragment = datagram(false, SERVER);
        fragment[7] = 1;
        assert_eq!(refusing_server(&error(false, 3, 3, &fragment)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            refusing_server(&bytes);
            packets(&bytes, |packet| _ = refusing_server(packet));
        }

        #[test]
        fn any_change_of_a_refusal_is_survived(
            v6: bool, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in 0usize..400,
        ) {
            let (kind, code) = if v6 { (1, 4) } else { (3, 3) };
            let mut packet = error(v6, kind, code, &datagram(v6, SERVER));
            packet.truncate(cut);
            for (place, byte) in changes.iter().filter(|_| cut > 0) {
                *place.get_mut(&mut packet) = *byte;
            }
            if let Some(server) = refusing_server(&packet) {
                prop_assert!(server.is_ipv6() == v6 || !changes.is_empty());
            }
        }
    }
}
