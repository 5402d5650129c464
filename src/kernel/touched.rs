//! The task that hears of changes of our tables: nftables tells every change of a ruleset to whoever listens.
//! What is heard only wakes: what has changed is read by listing the tables.

use std::io;

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::mpsc::UnboundedSender;

use crate::core::Input;
use crate::nft;

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const NFNLGRP_NFTABLES: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const NFNL_SUBSYS_NFTABLES: u8 = 10;
/// The table's name has this number in the messages about tables, chains, rules, sets and elements
/// (`NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, …).
const NFTA_TABLE: u16 = 1;

const NLMSG_HEADER: usize = 16;
const NFGENMSG: usize = 4;

/// A socket that hears of every change of nftables in this network namespace.
///
/// # Errors
/// The kernel has no nf_tables, or the caller lacks CAP_NET_ADMIN.
pub fn listen() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(NFNLGRP_NFTABLES)?;
    Ok(socket)
}

/// Gives [`Input::RulesTouched`] for every datagram about our tables, until the other end is dropped.
pub async fn run(socket: TokioSocket, inputs: UnboundedSender<Input>) {
    loop {
        let touched = match socket.recv_from_full().await {
            Ok((datagram, _)) => names_our_table(&datagram),
            // Some were lost (ENOBUFS): perhaps ours.
            Err(_) => true,
        };
        if touched && inputs.send(Input::RulesTouched).is_err() {
            return;
        }
    }
}

fn names_our_table(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= NLMSG_HEADER) else {
            return false;
        };
        let subsystem = u16::from_ne_bytes([message[4], message[5]]) >> 8;
        let attributes = message.get(NLMSG_HEADER + NFGENMSG..).unwrap_or_default();
        if subsystem == u16::from(NFNL_SUBSYS_NFTABLES) && NlasIterator::new(attributes).any(is_our_table) {
            return true;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn is_our_table<E>(attribute: Result<NlaBuffer<&[u8]>, E>) -> bool {
    attribute.is_ok_and(|attribute| {
        attribute.kind() == NFTA_TABLE && attribute.value().strip_suffix(b"\0") == Some(nft::TABLE.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, table: &str) -> Vec<u8> {
        let name = [table.as_bytes(), b"\0"].concat();
        let attribute = 4 + name.len();
        let mut bytes = Vec::new();
        bytes.extend(((NLMSG_HEADER + NFGENMSG + attribute) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(NLMSG_HEADER + NFGENMSG, 0);
        bytes.extend((attribute as u16).to_ne_bytes());
        bytes.extend(NFTA_TABLE.to_ne_bytes());
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_about_our_table_are_told_from_others() {
        let nftables = u16::from(NFNL_SUBSYS_NFTABLES) << 8;
        assert!(names_our_table(&message(nftables, "ipvsd")));
        assert!(names_our_table(&[message(nftables, "kube"), message(nftables | 3, "ipvsd")].concat()));
        assert!(!names_our_table(&message(nftables, "ipvsd2")));
        assert!(!names_our_table(&message(0x100, "ipvsd")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            names_our_table(&bytes);
        }
    }
}
