//! What is known of the kernel's schedulers: which heed weights, and which spread the datagrams of one client under OPS.

use ipvs_netlink::{Flags, SchedulerName};

use super::draft::{At, Field, List};
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

/// The flags of schedulers in `ipvsadm`'s words, and which scheduler knows one by that word.
const FLAGS: [(&str, Option<&str>, u32); 7] = [
    ("flag-1", None, Flags::SCHED1),
    ("flag-2", None, Flags::SCHED2),
    ("flag-3", None, Flags::SCHED3),
    ("sh-fallback", Some("sh"), Flags::SCHED1),
    ("sh-port", Some("sh"), Flags::SCHED2),
    ("mh-fallback", Some("mh"), Flags::SCHED1),
    ("mh-port", Some("mh"), Flags::SCHED2),
];

/// The flags that `words` mean for this scheduler; none if one of them means none.
pub fn judge_flags(
    words: &Field<List<At<String>>>,
    scheduler: Option<&At<SchedulerName>>,
    problems: &mut Problems,
) -> Option<u32> {
    let list = match words {
        Field::Missing => return Some(0),
        Field::Broken => return None,
        Field::Given(list) => &list.value,
    };
    let mut flags = list.whole.then_some(0);
    for word in &list.items {
        let Some((_, of, flag)) = FLAGS.iter().find(|(known, ..)| *known == word.value) else {
            let known: Vec<&str> = FLAGS.iter().map(|(known, ..)| *known).collect();
            problems
                .error(word.place, format!("no scheduler has a flag `{}`", word.value))
                .help(suggest(&word.value, &known));
            flags = None;
            continue;
        };
        if let (Some(of), Some(scheduler)) = (of, scheduler)
            && scheduler.value != **of
        {
            problems
                .error(word.place, format!("`{}` is a flag of the scheduler `{of}`", word.value))
                .related(scheduler.place, format!("the scheduler is `{}`", scheduler.value))
                .help("remove it, or change the scheduler");
            flags = None;
            continue;
        }
        flags = flags.map(|flags| flags | flag);
    }
    flags
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
