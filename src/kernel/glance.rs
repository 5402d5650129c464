//! A cheap look at IPVS: `/proc/net/ip_vs` costs half of what the kernel takes for a dump, nothing to decode, and shows
//! nearly all of it: not thresholds, tunnels and the persistence engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipvs_netlink::{Protocol, ServiceKey};
use rustc_hash::FxHasher;

const TABLE: &str = "/proc/net/ip_vs";

/// Tables of at most so many bytes, about 300 lines, are dumped in full each time.
const SMALL: usize = 16 * 1024;

/// The kernel writes whole services into a page. Asked for as much as a page holds, it writes one more than fits, throws
/// it away and writes it again for the next read: a tenth of all its work. Asked for less, it stops in time.
const PIECE: usize = 3072;

/// How the line of a server begins.
const SERVER: &[u8] = b"  ->";

/// What a glance shows.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// These services have changed since the last glance, or came, or are gone.
    Changed(BTreeSet<ServiceKey>),
    /// Too little to go by: the first glance, a table that is small or cannot be read, a change that names no service.
    Unclear,
}

/// The table as the last glance showed it. Its text is not kept: of ten thousand servers that is most of a megabyte.
#[derive(Debug, Default)]
pub struct Glance {
    /// Of the whole text: mostly nothing has changed, and it need not be taken apart.
    hash: u64,
    length: usize,
    table: Table,
}

/// What the lines of each service say, as a hash. None are the heading and what is not understood.
type Table = BTreeMap<Option<ServiceKey>, u64>;

impl Glance {
    /// What has changed since the last glance.
    pub fn look(&mut self) -> Seen {
        // What cannot be read is for a dump to explain.
        let pieces = read().unwrap_or_default();
        let mut whole = FxHasher::default();
        pieces.iter().for_each(|piece| whole.write(piece));
        let (hash, length) = (whole.finish(), pieces.iter().map(Vec::len).sum());
        if (hash, length) == (self.hash, self.length) && length > SMALL {
            return Seen::Changed(BTreeSet::new());
        }
        let before = std::mem::replace(self, Self { hash, length, table: table(&pieces) });
        match length <= SMALL {
            true => Seen::Unclear,
            false => changed(&before.table, &self.table).map_or(Seen::Unclear, Seen::Changed),
        }
    }
}

/// The text, as the kernel gives it: in one piece it would be the largest thing that the daemon ever holds.
fn read() -> io::Result<Vec<Vec<u8>>> {
    let (mut file, mut pieces) = (File::open(TABLE)?, Vec::new());
    loop {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(pieces);
        }
        piece.truncate(length);
        pieces.push(piece);
    }
}

/// The table that a text in pieces shows.
fn table(pieces: &[Vec<u8>]) -> Table {
    let mut table = Table::new();
    let (mut service, mut hash) = (None, FxHasher::default());
    let mut take = |line: &[u8]| {
        if !line.starts_with(SERVER) {
            let lines = table.entry(service).or_default();
            *lines = lines.wrapping_add(hash.finish());
            (service, hash) = (key(line), FxHasher::default());
        }
        hash.write(without_counters(line));
    };
    // What is not taken yet.
    let mut text = Vec::new();
    for piece in pieces {
        text.extend_from_slice(piece);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        text[..end].split_inclusive(|byte| *byte == b'\n').for_each(&mut take);
        text.drain(..end);
    }
    if !text.is_empty() {
        take(&text);
    }
    take(b"");
    table
}

/// The services that differ; none if one of them is not understood.
fn changed(before: &Table, now: &Table) -> Option<BTreeSet<ServiceKey>> {
    let gone = before.keys().filter(|service| !now.contains_key(service));
    let new = now.iter().filter(|(service, lines)| before.get(service) != Some(lines));
    gone.chain(new.map(|(service, _)| service)).copied().collect()
}

/// `ip_vs_ctl.c: ip_vs_info_seq_show`: `UDP  C0000235:0035`, hexadecimal, or `UDP  [2001:0db8:…:0053]:0035`. A firewall
/// mark is written without its family.
fn key(line: &[u8]) -> Option<ServiceKey> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let protocol = match words.next()? {
        "TCP" => Protocol::TCP,
        "UDP" => Protocol::UDP,
        "SCTP" => Protocol::SCTP,
        _ => return None,
    };
    let (address, port) = words.next()?.rsplit_once(':')?;
    let ip = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(v6) => IpAddr::V6(v6.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?)),
    };
    let address = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    Some(ServiceKey::Address { protocol, address })
}

/// A server's line ends in its connections, active and inactive; they change without anybody changing anything.
fn without_counters(line: &[u8]) -> &[u8] {
    if !line.starts_with(SERVER) {
        return line;
    }
    let mut end = line.len();
    for _ in 0..2 {
        let kept = line[..end].trim_ascii_end();
        end = kept.iter().rposition(u8::is_ascii_whitespace).unwrap_or(0);
    }
    line[..end].trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADING: &str = "IP Virtual Server version 1.2.1 (size=4096)\n\
                           Prot LocalAddress:Port Scheduler Flags\n  \
                           -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
    const DNS: &str =
        "UDP  C0000235:0035 rr ops\n  -> 0A00010B:14B4      Masq    1      0          0         \n";
    const DNS6: &str = "UDP  [2001:0db8:0000:0000:0000:0000:0000:0053]:0035 rr ops\n  \
                        -> [fd00:0001:0000:0000:0000:0000:0000:0011]:14B4      Masq    1      0          0\n";

    fn seen(before: &[&str], now: &[&str]) -> Option<Vec<String>> {
        let table = |lines: &[&str]| table(&[lines.concat().into_bytes()]);
        let changed = changed(&table(before), &table(now));
        changed.map(|keys| keys.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_the_services_that_differ_are_named() {
        let both = [HEADING, DNS, DNS6];
        assert_eq!(seen(&both, &both), Some(vec![]));
        assert_eq!(seen(&both, &[HEADING, DNS6, DNS]), Some(vec![]), "the order means nothing");
        let counted = DNS.replace("0          0", "7          42");
        assert_eq!(seen(&both, &[HEADING, &counted, DNS6]), Some(vec![]), "counters mean nothing");
        let v4 = ServiceKey::udp("192.0.2.53:53".parse().unwrap()).to_string();
        let v6 = ServiceKey::udp("[2001:db8::53]:53".parse().unwrap()).to_string();
        for edit in [("Masq    1", "Masq    0"), ("rr ops", "rr "), ("0A00010B", "0A00010C")] {
            let edited = DNS.replace(edit.0, edit.1);
            assert_eq!(seen(&both, &[HEADING, &edited, DNS6]), Some(vec![v4.clone()]), "{edit:?}");
        }
        let longer = format!("{DNS6}  -> 0A00010D:14B4      Masq    1      0          0\n");
        assert_eq!(seen(&both, &[HEADING, DNS, &longer]), Some(vec![v6.clone()]), "a server more");
        assert_eq!(seen(&both, &[HEADING, DNS]), Some(vec![v6.clone()]), "a service is gone");
        assert_eq!(seen(&[HEADING], &[HEADING, DNS6]), Some(vec![v6.clone()]), "a service came");
        let mut gone = vec![v4, v6];
        gone.sort();
        let mut found = seen(&both, &[HEADING]).unwrap();
        found.sort();
        assert_eq!(found, gone);
    }

    #[test]
    fn what_names_no_service_is_unclear() {
        assert_eq!(seen(&[HEADING], &[HEADING, "FWM  00000007 rr\n"]), None);
        assert_eq!(seen(&[], &[HEADING, DNS]), None, "the first glance");
    }

    #[test]
    fn only_the_counters_of_servers_are_left_out() {
        let server = b"  -> 0A00010B:14B4      Masq    1      7          42        ";
        assert_eq!(without_counters(server), b"  -> 0A00010B:14B4      Masq    1");
        assert_eq!(without_counters(b"UDP  C0000235:0035 rr ops"), b"UDP  C0000235:0035 rr ops");
        assert_eq!(without_counters(b"  ->"), b"");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(before in "[ -UDP:0\n>\\[\\]]{0,60}", now in prop::collection::vec(any::<u8>(), 0..60)) {
            changed(&table(&[before.into_bytes()]), &table(&[now]));
        }

        #[test]
        fn it_means_nothing_where_a_piece_ends(length in 1..200usize) {
            let text = [HEADING, DNS, DNS6].concat().into_bytes();
            let pieces: Vec<Vec<u8>> = text.chunks(length).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(table(&pieces), table(&[text]));
        }
    }
}
