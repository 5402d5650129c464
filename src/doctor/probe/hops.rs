//! From what each hop counted to where requests or replies are lost: pure.

use std::net::{IpAddr, SocketAddr};

use ipvs_netlink::Forward;

use super::Course;
use super::counters::Seen;
use crate::kernel::finding::{Finding, Id};

/// What the datagrams of a course show. `direct` says of each server whether it answers the director itself, where it was asked.
pub fn judge(course: &Course, client: IpAddr, seen: &Seen, direct: &[Option<bool>]) -> Vec<Finding> {
    let at = at(course);
    let mut findings: Vec<Finding> = request(&at, seen).into_iter().collect();
    for place in 0..seen.left.len() {
        let server = match (course.forward, course.servers.get(place)) {
            (Forward::Masquerade | Forward::Tunnel(_), Some(server)) => server.to_string(),
            _ => "the servers".to_owned(),
        };
        findings.extend(to_server(&at, &server, place, seen));
        if course.forward == Forward::Masquerade {
            let answers = direct.get(place).copied().flatten();
            findings.extend(reply(course, &server, client, place, seen, answers));
        }
    }
    if course.forward == Forward::Masquerade {
        findings.extend(to_client(&at, seen));
    }
    findings
}

fn at(course: &Course) -> String {
    format!("{} of \"{}\"", course.vip, course.name)
}

fn request(at: &str, seen: &Seen) -> Option<Finding> {
    let Seen { sent, came, local, input, refused, .. } = *seen;
    let scheduled: u64 = seen.scheduled.iter().sum();
    let (id, seen, follows, cure) = if local < sent {
        let seen =
            format!("of {sent} datagrams to {at} {came} came into the director, and {local} were for itself");
        let cure = "look whether the VIP is an address of this machine (`ip addr`), and at the chains of the hook prerouting \
                    (`nft list ruleset`)";
        (Id::LostBeforeInput, seen, "they are dropped or routed away before IPVS could see them", cure)
    } else if input < local {
        let seen = format!("of {local} datagrams to {at} {input} passed the filters of the hook input");
        let cure = "the findings `drops-requests` name the chain; otherwise look at the rules of the hook input, also at those \
                    that name interfaces";
        (Id::LostAtInput, seen, "a packet filter drops requests before IPVS could see them", cure)
    } else if scheduled < input && refused > 0 {
        let seen =
            format!("of {input} datagrams to {at} {refused} were refused by an ICMP error of the director");
        let cure = "`ipvsd status` says why no server has weight";
        (Id::LostInIpvs, seen, "IPVS has no server for them", cure)
    } else if scheduled < input {
        let seen = format!("of {input} datagrams to {at} IPVS sent on {scheduled}");
        let cure = "look at `sysctl net.ipv4.vs` (drop_packet, backup_only, conn_max), at the routes to the servers, and at old \
                    connection entries (`ipvsadm -Lnc`)";
        (Id::LostInIpvs, seen, "IPVS drops requests", cure)
    } else {
        return None;
    };
    Some(Finding::error(id, seen, follows, cure))
}

fn to_server(at: &str, server: &str, place: usize, seen: &Seen) -> Option<Finding> {
    let (scheduled, left) = (seen.scheduled[place], seen.left[place]);
    (left < scheduled).then(|| {
        Finding::error(
            Id::LostAtOutput,
            format!("of {scheduled} datagrams to {at} that IPVS sent to {server} {left} left"),
            "a packet filter drops requests on their way to the server",
            "the findings `drops-scheduled` name the chain; otherwise look at the rules of the hooks output and postrouting",
        )
    })
}

fn reply(
    course: &Course,
    server: &str,
    client: IpAddr,
    place: usize,
    seen: &Seen,
    answers: Option<bool>,
) -> Option<Finding> {
    let (at, asked) = (at(course), course.question.is_some());
    let (left, back, errors) = (seen.left[place], seen.back[place], seen.errors[place]);
    let (routed, forwarded) = (seen.routed[place], seen.forwarded[place]);
    let (id, seen, follows, cure) = if errors > 0 {
        let seen =
            format!("of {left} datagrams to {at} that left for {server} {errors} came back as ICMP errors");
        let cure = format!("start the server, or let it listen on {server}");
        (Id::ServerRefuses, seen, "nothing listens there, or its packet filter refuses", cure)
    } else if left > 0 && back == 0 {
        let seen =
            format!("{left} datagrams to {at} left for {server}, and no reply came back to the director");
        match answers {
            Some(true) => {
                let cure = format!(
                    "let the director be the server's only route to the clients: on the server `ip route get {client}` must \
                     name the director; servers on a network with clients, or with another gateway, need `forward = \"direct\"` \
                     (where the server knows the way to your clients' networks only, nothing is wrong but with this probe)"
                );
                let follows = "it answers the director itself, so its replies to clients go past the director, from its own \
                               address";
                (Id::Bypass, seen, follows, cure)
            }
            Some(false) => {
                let cure = "look at the server: whether it runs, and what it logs".to_owned();
                (Id::ServerSilent, seen, "it does not answer the director itself either", cure)
            }
            // It was not asked anything that must be answered.
            None => return None,
        }
    } else if back < left && asked {
        let seen = format!("of {left} datagrams to {at} that left for {server} {back} were answered");
        let cure = "look at the load and the packet filter of the server, and at the way to it (`ping -f`)"
            .to_owned();
        (Id::ServerSilent, seen, "it, or the network between, loses requests or answers", cure)
    } else if routed < back {
        let seen = format!("of {back} replies of {server} to {client} {routed} were forwarded");
        let cure = "look at `sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding`, at rp_filter and at the chains of the \
                    hook prerouting"
            .to_owned();
        (Id::LostInRouting, seen, "the kernel drops replies before it forwards them", cure)
    } else if forwarded < routed {
        let seen = format!("of {routed} replies of {server} to {client} {forwarded} passed the hook forward");
        let cure = "the findings `drops-replies` and `nat-icmp-send` name what drops them; otherwise look at the rules of \
                    the hook forward, also at those that name interfaces"
            .to_owned();
        (Id::LostAtForward, seen, "a packet filter or IPVS drops replies", cure)
    } else if seen.plain[place] > 0 {
        let seen = format!(
            "{} replies of {server} to {client} left with the server's own address",
            seen.plain[place]
        );
        let cure = "the finding `reply-rules` says what is missing; start ipvsd".to_owned();
        (Id::NotRewritten, seen, "clients throw them away", cure)
    } else {
        return None;
    };
    Some(Finding::error(id, seen, follows, cure))
}

fn to_client(at: &str, seen: &Seen) -> Option<Finding> {
    let (forwarded, plain): (u64, u64) = (seen.forwarded.iter().sum(), seen.plain.iter().sum());
    let received: u64 = seen.received.values().sum();
    let left = seen.rewritten + plain;
    let (counted, of) = if left < forwarded { (left, forwarded) } else { (received, left) };
    (counted < of).then(|| {
        Finding::error(
            Id::LostToClient,
            format!("of {of} replies for {at} {counted} got to the client"),
            "replies are dropped behind the rewrite",
            "look at the rules of the hook postrouting (`nft list ruleset`), and at `tc filter` and `tc qdisc` of the interfaces",
        )
    })
}

/// What was done, in a line.
pub fn say(course: &Course, client: IpAddr, seen: &Seen) -> String {
    let (left, back): (u64, u64) = (seen.left.iter().sum(), seen.back.iter().sum());
    let good = seen.received.get(&course.vip).copied().unwrap_or_default();
    let question =
        if course.question.is_some() { "the check's request" } else { "a mark that nobody need answer" };
    let mut said = format!(
        "{} of {}: {} datagrams from {client} ({question}), {} came to IPVS, {left} left for servers, ",
        course.vip, course.name, seen.sent, seen.input
    );
    match course.forward {
        Forward::Masquerade => {
            said += &format!("{back} replies came back, {good} got to the client from the VIP")
        }
        _ => {
            said += &format!(
                "{back} replies came by the director (they need not: the servers answer clients themselves)"
            )
        }
    }
    let tried = |place: usize| seen.scheduled.get(place).copied().unwrap_or_default() > 0;
    let untried: Vec<String> = match course.forward {
        Forward::Direct => Vec::new(),
        _ => (course.servers.iter().enumerate())
            .filter(|(place, _)| !tried(*place))
            .map(|(_, server): (usize, &SocketAddr)| server.to_string())
            .collect(),
    };
    if !untried.is_empty() && seen.input > 0 {
        said += &format!("; none went to {}", untried.join(", "));
    }
    said
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn course(forward: Forward) -> Course {
        let servers = ["10.0.1.11:5300", "10.0.1.12:5300"].map(|server| server.parse().unwrap()).into();
        Course { name: "dns".into(), vip: "192.0.2.53:53".parse().unwrap(), forward, servers, question: None }
    }

    fn all_well() -> Seen {
        let two = || vec![2, 2];
        Seen {
            sent: 4,
            came: 4,
            local: 4,
            input: 4,
            scheduled: two(),
            left: two(),
            errors: vec![0, 0],
            back: two(),
            routed: two(),
            forwarded: two(),
            plain: vec![0, 0],
            rewritten: 4,
            refused: 0,
            received: BTreeMap::from([("192.0.2.53:53".parse().unwrap(), 4)]),
        }
    }

    fn found(forward: Forward, seen: &Seen, direct: &[Option<bool>]) -> Vec<Id> {
        let findings = judge(&course(forward), "192.0.0.2".parse().unwrap(), seen, direct);
        findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn each_hop_has_its_finding() {
        let nat = |change: &dyn Fn(&mut Seen)| {
            let mut seen = all_well();
            change(&mut seen);
            found(Forward::Masquerade, &seen, &[Some(true), Some(false)])
        };
        assert_eq!(nat(&|_| {}), []);
        let nothing = |seen: &mut Seen| {
            *seen = Seen { sent: 4, left: vec![0, 0], scheduled: vec![0, 0], ..all_well() };
            seen.received.clear();
            (seen.back, seen.routed, seen.forwarded, seen.rewritten) =
                (vec![0, 0], vec![0, 0], vec![0, 0], 0);
        };
        assert_eq!(nat(&|seen| (nothing(seen), seen.local = 0, seen.input = 0).0), [Id::LostBeforeInput]);
        assert_eq!(nat(&|seen| (nothing(seen), seen.input = 0).0), [Id::LostAtInput]);
        assert_eq!(nat(&|seen| nothing(seen)), [Id::LostInIpvs]);
        assert_eq!(nat(&|seen| (nothing(seen), seen.refused = 4).0), [Id::LostInIpvs]);
        assert_eq!(nat(&|seen| (nothing(seen), seen.scheduled = vec![2, 2]).0), [Id::LostAtOutput; 2]);
        let unanswered =
            |seen: &mut Seen| (nothing(seen), seen.scheduled = vec![2, 2], seen.left = vec![2, 2]).0;
        assert_eq!(nat(&|seen| unanswered(seen)), [Id::Bypass, Id::ServerSilent]);
        assert_eq!(nat(&|seen| (unanswered(seen), seen.errors = vec![1, 1]).0), [Id::ServerRefuses; 2]);
        let back = |seen: &mut Seen| (unanswered(seen), seen.back = vec![2, 2]).0;
        assert_eq!(nat(&|seen| back(seen)), [Id::LostInRouting; 2]);
        assert_eq!(nat(&|seen| (back(seen), seen.routed = vec![2, 2]).0), [Id::LostAtForward; 2]);
        assert_eq!(nat(&|seen| (seen.plain = vec![2, 0], seen.rewritten = 2).0), [Id::NotRewritten]);
        assert_eq!(nat(&|seen| seen.rewritten = 3), [Id::LostToClient]);
        assert_eq!(nat(&|seen| seen.received.clear()), [Id::LostToClient]);
    }

    #[test]
    fn replies_that_go_past_the_director_are_right_but_for_nat() {
        let mut seen = Seen { back: vec![0], rewritten: 0, received: BTreeMap::new(), ..all_well() };
        (seen.scheduled, seen.left) = (vec![4], vec![4]);
        assert_eq!(found(Forward::Direct, &seen, &[]), []);
        seen.left = vec![3];
        assert_eq!(found(Forward::Direct, &seen, &[]), [Id::LostAtOutput]);
    }
}
