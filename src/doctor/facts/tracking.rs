//! Reads the UDP entries of connection tracking.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Tracked;
use crate::doctor::program;

/// The entries of this network namespace; none where nothing is tracked.
///
/// # Errors
/// Why they cannot be read, in words.
pub async fn read() -> Result<Vec<Tracked>, String> {
    match fs::read("/proc/net/nf_conntrack") {
        Ok(table) => Ok(parse(&String::from_utf8_lossy(&table))),
        // Kernels may be built without it, and without the module nothing is tracked.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !fs::exists("/proc/sys/net/netfilter/nf_conntrack_max").unwrap_or(true) {
                return Ok(Vec::new());
            }
            let mut text = String::new();
            for family in ["ipv4", "ipv6"] {
                text += &program::run("conntrack", &["-L", "-p", "udp", "-f", family]).await?;
            }
            Ok(parse(&text))
        }
        Err(error) => Err(format!("/proc/net/nf_conntrack: {error}")),
    }
}

/// `… udp 17 29 src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… sport=… dport=… …`, as the file and conntrack(8) have it.
/// Other lines are left out.
fn parse(table: &str) -> Vec<Tracked> {
    table.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Tracked> {
    if !line.split_whitespace().take(3).any(|word| word == "udp") {
        return None;
    }
    let mut values = ["src=", "dst=", "sport=", "dport="]
        .map(|key| line.split_whitespace().filter_map(move |word| word.strip_prefix(key)));
    let [sources, destinations, source_ports, destination_ports] = &mut values;
    let ip = |text: Option<&str>| text?.parse::<IpAddr>().ok();
    let port = |text: Option<&str>| text?.parse::<u16>().ok();
    let source = SocketAddr::new(ip(sources.next())?, port(source_ports.next())?);
    let destination = SocketAddr::new(ip(destinations.next())?, port(destination_ports.next())?);
    let reply_destination = SocketAddr::new(ip(destinations.next())?, port(destination_ports.next())?);
    Some(Tracked { source, destination, reply_destination })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of Linux 6.1: a server's reply under `snat to 192.0.2.53:53`, a client's request, and a TCP connection.
    const TABLE: &str = "\
ipv4     2 udp      17 29 src=10.0.1.11 dst=10.0.0.2 sport=5300 dport=40000 [UNREPLIED] src=10.0.0.2 dst=192.0.2.53 sport=40000 dport=53 mark=0 zone=0 use=2
udp      17 119 src=fd00::2 dst=2001:db8::53 sport=40000 dport=53 src=2001:db8::53 dst=fd00::2 sport=53 dport=40000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.0.0.1 sport=33000 dport=22 src=10.0.0.1 dst=10.0.0.2 sport=22 dport=33000 [ASSURED] mark=0 zone=0 use=2
";

    #[test]
    fn udp_entries_of_both_families_are_read() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].source, "10.0.1.11:5300".parse().unwrap());
        assert_eq!(entries[0].reply_destination, "192.0.2.53:53".parse().unwrap());
        assert_eq!(entries[1].destination, "[2001:db8::53]:53".parse().unwrap());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), words in "((udp|src=|dst=|sport=|dport=|[0-9.:]{1,9}) ?|\n){0,40}") {
            let _ = (parse(&text), parse(&words));
        }
    }
}
