//! Every keyword of keepalived 2.0 to 2.4, and what becomes of it in ipvsd.

mod table;

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use serde::Serialize;

/// What ipvsd makes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It means the same in ipvsd.
    Taken,
    /// It is taken, and something differs for the better or is equal in effect.
    Noted,
    /// ipvsd does without: nothing that a client or a server sees depends on it.
    NotNeeded,
    /// `keepalived -P` goes on doing it beside ipvsd.
    LeftToKeepalived,
    /// ipvsd cannot do it; the reason says what to do instead.
    Refused,
}

/// The blocks whose keywords differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Outside of all blocks.
    Root,
    /// `global_defs`
    GlobalDefs,
    /// `virtual_server`
    VirtualServer,
    /// `virtual_server_group`; its other lines are addresses.
    VirtualServerGroup,
    /// `real_server`
    RealServer,
    /// `TCP_CHECK`
    TcpCheck,
    /// `UDP_CHECK`
    UdpCheck,
    /// `PING_CHECK`
    PingCheck,
    /// `DNS_CHECK`
    DnsCheck,
    /// `MISC_CHECK`
    MiscCheck,
    /// `HTTP_GET`
    HttpGet,
    /// `SSL_GET`
    SslGet,
    /// `SMTP_CHECK`
    SmtpCheck,
    /// `FILE_CHECK`
    FileCheck,
    /// `BFD_CHECK`
    BfdCheck,
    /// `url` of `HTTP_GET` and `SSL_GET`
    Url,
    /// `SSL`
    Ssl,
    /// `track_file`
    TrackFile,
    /// `bfd_instance`
    BfdInstance,
    /// `vrrp_instance`
    VrrpInstance,
    /// `vrrp_sync_group`
    VrrpSyncGroup,
    /// `vrrp_script`
    VrrpScript,
    /// `vrrp_track_process`
    VrrpTrackProcess,
    /// `garp_group`
    GarpGroup,
    /// `track_group`
    TrackGroup,
}

/// Which versions of keepalived know a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// 2.2.7, which is Debian 12's, does.
    Yes,
    /// Only later ones do.
    Later,
    /// None does: it is seen in files all the same.
    Never,
}

/// One keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Keyword {
    /// The block that it stands in.
    pub block: Block,
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why; empty if it is simply taken.
    pub reason: &'static str,
    /// Who knows it.
    pub known: Known,
}

/// All keywords, block by block, in the order of the table.
pub fn keywords() -> impl Iterator<Item = Keyword> {
    table::ROWS.iter().flat_map(|row| {
        row.blocks.iter().flat_map(move |block| {
            let keyword = move |name| Keyword {
                block: *block,
                name,
                verdict: row.verdict,
                reason: row.reason,
                known: row.known,
            };
            row.names.iter().copied().map(keyword)
        })
    })
}

/// The keyword of this name in a block.
pub fn keyword(block: Block, name: &str) -> Option<&'static Keyword> {
    static INDEX: LazyLock<FxHashMap<Block, FxHashMap<&'static str, Keyword>>> = LazyLock::new(|| {
        let mut index = FxHashMap::<_, FxHashMap<_, _>>::default();
        for keyword in keywords() {
            index.entry(keyword.block).or_default().insert(keyword.name, keyword);
        }
        index
    });
    INDEX.get(&block)?.get(name)
}

impl Keyword {
    /// Whether a block in braces follows it.
    pub fn takes_block(&self) -> bool {
        matches!(
            (self.block, self.name),
            (
                Block::Root,
                "global_defs"
                    | "linkbeat_interfaces"
                    | "interface_up_down_delays"
                    | "static_ipaddress"
                    | "static_routes"
                    | "static_rules"
                    | "track_group"
                    | "vrrp_script"
                    | "vrrp_track_process"
                    | "vrrp_track_file"
                    | "vrrp_sync_group"
                    | "garp_group"
                    | "vrrp_instance"
                    | "bfd_instance"
                    | "track_file"
                    | "virtual_server"
                    | "virtual_server_group"
                    | "SSL"
                    | "local_address_group"
            ) | (Block::GlobalDefs, "notification_email")
                | (Block::VirtualServer, "real_server")
                | (
                    Block::RealServer,
                    "TCP_CHECK"
                        | "UDP_CHECK"
                        | "PING_CHECK"
                        | "DNS_CHECK"
                        | "MISC_CHECK"
                        | "HTTP_GET"
                        | "SSL_GET"
                        | "SMTP_CHECK"
                        | "FILE_CHECK"
                        | "BFD_CHECK"
                )
                | (Block::HttpGet | Block::SslGet, "url")
                | (Block::SmtpCheck, "host")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_keyword_stands_once_in_the_table_and_has_its_reason() {
        let mut seen = BTreeSet::new();
        for keyword in keywords() {
            assert!(seen.insert((keyword.block, keyword.name)), "{keyword:?} stands there twice");
            assert_eq!(keyword.reason.is_empty(), keyword.verdict == Verdict::Taken, "{keyword:?}");
            assert!(!keyword.reason.ends_with('.'), "{keyword:?}");
        }
        assert!(seen.len() > 400, "{}", seen.len());
    }

    #[test]
    fn both_spellings_mean_the_same() {
        for (one, other) in [("lvs_sched", "lb_algo"), ("lvs_method", "lb_kind")] {
            let verdict = |name| keyword(Block::VirtualServer, name).map(|keyword| keyword.verdict);
            assert_eq!(verdict(one), verdict(other));
            assert!(verdict(one).is_some());
        }
        assert_eq!(keyword(Block::RealServer, "lb_kind").map(|keyword| keyword.known), Some(Known::Never));
        assert_eq!(keyword(Block::VirtualServer, "UPD_CHECK"), None);
    }
}
