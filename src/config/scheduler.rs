//! What is known of the kernel's schedulers: which heed weights, and which spread the datagrams of one client under OPS.

use ipvs_netlink::SchedulerName;

use super::draft::At;
use super::report::{Place, Problems};
use super::words::suggest;

/// Where datagrams go when no connection is ever made.
#[derive(Clone, Copy)]
enum Spread {
    /// To each server in turn.
    InTurn,
    /// It compares connection counts, which stay 0.
    Counts,
    /// It hashes the address asked for, which is the VIP.
    Vip,
    /// To the server with the highest weight.
    Highest,
    /// To one server for each client address.
    Client,
    /// To servers drawn at random.
    Drawn,
}

/// Name, whether weights that differ matter to it, spread (seen on 5.10 to 7.3).
const KNOWN: [(&str, bool, Spread); 14] = [
    ("rr", false, Spread::InTurn),
    ("wrr", true, Spread::InTurn),
    ("lc", false, Spread::Counts),
    ("wlc", true, Spread::Counts),
    ("lblc", true, Spread::Counts),
    ("lblcr", true, Spread::Counts),
    ("sed", true, Spread::Counts),
    ("nq", true, Spread::Counts),
    ("ovf", true, Spread::Counts),
    ("fo", true, Spread::Highest),
    ("dh", false, Spread::Vip),
    ("sh", true, Spread::Client),
    ("mh", true, Spread::Client),
    ("twos", true, Spread::Drawn),
];

/// Whether weights that differ matter to the scheduler `name`; none: it is not known.
pub fn heeds_weight(name: &str) -> Option<bool> {
    KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, heeds, _)| *heeds)
}

/// A name that the kernel may know.
pub fn judge(name: &At<String>, problems: &mut Problems) -> Option<SchedulerName> {
    if name.value == "none" {
        problems
            .error(name.place, "without a scheduler the kernel refuses every datagram")
            .help("`rr` takes the servers in turn, `wrr` does so by weight");
        return None;
    }
    match name.value.parse() {
        Ok(parsed) => Some(parsed),
        Err(_) => {
            problems
                .error(name.place, "not a scheduler's name: the kernel takes 1 to 15 bytes")
                .help(suggest(&name.value, &names()));
            None
        }
    }
}

/// Whether weights that differ change nothing.
pub fn ignores_weights(name: &SchedulerName) -> bool {
    KNOWN.iter().any(|(known, weights, _)| *name == **known && !weights)
}

/// Warns of a scheduler that does not spread the datagrams of one client under OPS.
pub fn advise(name: &SchedulerName, place: Place, problems: &mut Problems) {
    let Some((_, _, spread)) = KNOWN.iter().find(|(known, ..)| *name == **known) else {
        problems.warning(place, format!("the scheduler `{name}` is none that ipvsd knows")).help(format!(
            "one of your own is the kernel's module ip_vs_{name}; {}",
            suggest(&name.to_string(), &names())
        ));
        return;
    };
    let (what, help) = match spread {
        Spread::InTurn => return,
        Spread::Counts => (
            "sends all datagrams to one server: it compares connections, and one-packet scheduling makes none",
            "`rr` and `wrr` spread datagrams; with `ops = false` there are connections to compare",
        ),
        Spread::Vip => (
            "sends all datagrams to one server: it hashes the address asked for, which is always the VIP",
            "`rr` and `wrr` spread datagrams",
        ),
        Spread::Highest => (
            "sends all datagrams to the server with the highest weight",
            "right for a standby; `rr` and `wrr` spread datagrams",
        ),
        Spread::Client => (
            "keeps each client address on one server",
            "right where the protocol needs that, and done without connections; \
             otherwise `rr` and `wrr` spread the datagrams of one client",
        ),
        Spread::Drawn => (
            "draws servers at random, and unevenly where weights are small: the first of three with weight 1 gets half",
            "give weights of 100 and more, or use `wrr`",
        ),
    };
    problems.warning(place, format!("the scheduler `{name}` {what}")).help(help);
}

fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, ..)| *name).collect()
}
