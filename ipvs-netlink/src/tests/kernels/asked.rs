//! What `ipvsadm` asks is what the verbs ask.

use netlink_packet_core::NLM_F_DUMP;

use super::*;
use crate::{Request, request};

/// The verbs of `captured/capture`, as messages of family 0 and sequence number 0.
fn verbs() -> Vec<Vec<u8>> {
    fn add<R>(verbs: &mut Vec<Vec<u8>>, request: Request<R>) {
        verbs.push(request.encode(0, 0));
    }
    let verbs = &mut Vec::new();
    let table = table();
    for (service, config, server) in &table {
        let web = matches!(service, ServiceKey::Address { protocol: Protocol::TCP, .. });
        if let (Some((server, config)), false) = (server, web) {
            add(verbs, request::add_destination(service, server, config));
        }
        if !web {
            // ipvsadm sends PERSISTENT nowhere but in the flags, as here; all of this one differs from what it becomes.
            add(verbs, request::add_service(service, config).unwrap());
        }
        add(verbs, request::list_destinations(service));
    }
    let (web, config, server) = &table[3];
    let (server, server_config) = server.unwrap();
    let wlc = ServiceConfig {
        flags: Flags::exactly(Flags::PERSISTENT),
        timeout: 60,
        netmask: Netmask::V4([255, 255, 255, 0]),
        ..ServiceConfig::new("wlc".parse().unwrap(), Family::Inet)
    };
    add(verbs, request::add_service(web, &wlc).unwrap());
    add(verbs, request::add_destination(web, &server, &DestinationConfig::new(Forward::Direct, 1)));
    add(verbs, request::set_service(web, config).unwrap());
    add(verbs, request::set_destination(web, &server, &server_config));
    add(verbs, request::delete_destination(web, &server));
    add(verbs, request::delete_service(web));
    add(verbs, request::list_services());
    add(verbs, request::set_timeouts(&timeouts()));
    add(verbs, request::get_timeouts());
    add(verbs, request::start_daemon(DaemonRole::Master, &daemon().config));
    add(verbs, request::list_daemons());
    add(verbs, request::stop_daemon(DaemonRole::Master));
    add(verbs, request::get_info());
    add(verbs, request::zero_all());
    add(verbs, request::flush());
    std::mem::take(verbs)
}

/// Whether `theirs` says all that `ours` says. ipvsadm also acknowledges dumps, and sends whole objects where the key
/// is enough.
fn covers(theirs: &[u8], ours: &[u8]) -> bool {
    let (their_header, our_header) =
        (NetlinkBuffer::new_checked(theirs).unwrap(), NetlinkBuffer::new_checked(ours).unwrap());
    let dump = |flags: u16| flags & NLM_F_DUMP == NLM_F_DUMP;
    let (theirs, ours) = (parse(theirs), parse(ours));
    let empty = theirs.attributes.is_empty() == ours.attributes.is_empty();
    let found = |ours: &Attribute| theirs.attributes.iter().any(|theirs| nest_covers(theirs, ours));
    dump(their_header.flags()) == dump(our_header.flags())
        && theirs.command == ours.command
        && empty
        && ours.attributes.iter().all(found)
}

fn nest_covers(theirs: &Attribute, ours: &Attribute) -> bool {
    fn all<A: PartialEq>(theirs: &[A], ours: &[A]) -> bool {
        ours.iter().all(|ours| theirs.contains(ours))
    }
    match (theirs, ours) {
        (Attribute::Service(theirs), Attribute::Service(ours)) => all(theirs, ours),
        (Attribute::Destination(theirs), Attribute::Destination(ours)) => all(theirs, ours),
        (Attribute::Daemon(theirs), Attribute::Daemon(ours)) => all(theirs, ours),
        (theirs, ours) => theirs == ours,
    }
}

#[test]
fn ipvsadm_asks_what_the_verbs_ask() {
    let verbs = verbs();
    for (release, capture, _) in KERNELS {
        let asked: Vec<_> = datagrams(capture).filter(|datagram| is_request(datagram)).collect();
        assert!(asked.len() > 25, "{release}");
        for ours in &verbs {
            assert!(
                asked.iter().any(|theirs| covers(theirs, ours)),
                "{release}: nobody asked {:?}",
                parse(ours)
            );
        }
        for theirs in &asked {
            // What the kernel refused is the end of the script.
            let refused = [hex("6e6f6e652d73756368"), hex("0a000009")];
            let known = verbs.iter().any(|ours| covers(theirs, ours))
                || refused.iter().any(|value| theirs.windows(value.len()).any(|window| window == value))
                || covers(
                    theirs,
                    &request::add_service(&key(), &ServiceConfig::new("rr".parse().unwrap(), Family::Inet))
                        .unwrap()
                        .encode(0, 0),
                );
            assert!(known, "{release}: no verb asks {:?}", parse(theirs));
        }
    }
}
