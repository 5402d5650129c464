//! Connection entries: who of our servers has clients pinned to it. `/proc/net/ip_vs_conn` is the only place that tells.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use ipvs_netlink::{DestinationKey, ServiceKey, connection};

/// The entries of these services: service and server of each pair, once.
///
/// # Errors
/// The table could not be read. Without IPVS in the kernel there are no entries.
pub fn read(services: &BTreeSet<ServiceKey>) -> io::Result<BTreeSet<(ServiceKey, DestinationKey)>> {
    let mut found = BTreeSet::new();
    let table = match File::open("/proc/net/ip_vs_conn") {
        // The entries went with the module.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        table => table?,
    };
    // A table of millions of entries is read line by line; what a client put into one need not be UTF-8.
    for line in BufReader::new(table).split(b'\n') {
        if let Some(entry) = connection::parse(&line?)
            && services.contains(&entry.service)
        {
            found.insert((entry.service, entry.destination));
        }
    }
    Ok(found)
}
