//! The time-outs of connection entries, as the core has them: by name, in seconds.

use std::collections::BTreeMap;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{Error, Timeouts};

use crate::core::sysctls::TIMEOUTS;

/// Those that this kernel tells.
///
/// # Errors
/// IPVS did not answer.
pub fn get() -> Result<BTreeMap<String, String>, Error> {
    let found = Client::connect()?.get_timeouts()?;
    Ok(named(&found))
}

/// By the names of [`TIMEOUTS`].
pub fn named(found: &Timeouts) -> BTreeMap<String, String> {
    let named = TIMEOUTS.into_iter().zip([found.tcp, found.tcp_fin, found.udp]);
    named.filter_map(|(key, seconds)| Some((key.to_owned(), seconds?.to_string()))).collect()
}

/// Sets the one of this name; the others stay.
///
/// # Errors
/// IPVS refused: more seconds than `INT_MAX` ticks of the kernel's clock (24 days at 1000 Hz), for one.
pub fn set(key: &str, seconds: u32) -> Result<(), Error> {
    let of = |name| (key == name).then_some(seconds);
    let [tcp, tcp_fin, udp] = TIMEOUTS.map(of);
    Client::connect()?.set_timeouts(&Timeouts { tcp, tcp_fin, udp, ..Timeouts::default() })
}
