//! Any datagrams are an answer, an error, or nothing yet.

#![no_main]

use ipvs_netlink::{Exchange, Request, request};

fn feed<R: ipvs_netlink::Answer>(request: Request<R>, datagrams: &[Vec<u8>]) {
    let mut exchange = Exchange::new(&request, 1);
    for datagram in datagrams {
        if exchange.feed(datagram).is_some() {
            return;
        }
    }
}

libfuzzer_sys::fuzz_target!(|datagrams: Vec<Vec<u8>>| {
    feed(request::list_services(), &datagrams);
    feed(request::list_daemons(), &datagrams);
    feed(request::get_timeouts(), &datagrams);
    feed(request::get_info(), &datagrams);
    let key = ipvs_netlink::ServiceKey::udp(([192, 0, 2, 53], 53).into());
    feed(request::get_service(&key), &datagrams);
    feed(request::list_destinations(&key), &datagrams);
    feed(request::delete_service(&key), &datagrams);
});
