//! What the kernel of a namespace holds, in its own words and parsed.

use std::fs;
use std::net::SocketAddr;

use crate::Netns;

/// A service as `ipvsadm -Sn` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `udp 192.0.2.53:53`, `tcp …` or `fwmark 7`.
    pub key: String,
    /// The scheduler's name.
    pub scheduler: String,
    /// True with one-packet scheduling.
    pub ops: bool,
    /// Its servers in the kernel's order.
    pub servers: Vec<Server>,
}

/// A server as `ipvsadm -Sn` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub address: SocketAddr,
    /// `nat`, `direct` or `tunnel`.
    pub forward: &'static str,
    /// Weight.
    pub weight: u32,
}

/// All IPVS services of a namespace.
///
/// # Panics
/// If ipvsadm fails, or writes what this does not know.
pub fn services(netns: &Netns) -> Vec<Service> {
    parse_services(&netns.check("ipvsadm", &["-Sn"]))
}

/// The weights of a service's servers, in the kernel's order; empty if there is no such service.
pub fn weights(netns: &Netns, key: &str) -> Vec<u32> {
    let service = services(netns).into_iter().find(|service| service.key == key);
    service.into_iter().flat_map(|service| service.servers).map(|server| server.weight).collect()
}

fn parse_services(text: &str) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |option: &str| {
            let at = words.iter().position(|word| *word == option)?;
            words.get(at + 1).copied()
        };
        let has = |option: &str| words.contains(&option);
        let kind = [("-u", "udp"), ("-t", "tcp"), ("-f", "fwmark"), ("--sctp-service", "sctp")];
        let key = kind.iter().find_map(|(option, word)| Some(format!("{word} {}", after(option)?)));
        let key = key.unwrap_or_else(|| panic!("ipvsadm -Sn wrote {line:?}"));
        if has("-A") {
            let scheduler = after("-s").unwrap_or_default().to_owned();
            services.push(Service { key, scheduler, ops: has("-o") || has("--ops"), servers: Vec::new() });
            continue;
        }
        let address = after("-r").and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("ipvsadm -Sn wrote {line:?}"));
        let methods = [("-m", "nat"), ("-g", "direct"), ("-i", "tunnel")];
        let forward = methods.iter().find(|(option, _)| has(option)).map_or("?", |(_, word)| word);
        let weight = after("-w").and_then(|text| text.parse().ok()).unwrap_or(1);
        if let Some(service) = services.iter_mut().find(|service| service.key == key) {
            service.servers.push(Server { address, forward, weight });
        }
    }
    services
}

/// The lines of the namespace's `/proc/net/ip_vs_conn` without the heading: one for each connection entry.
pub fn connections(netns: &Netns) -> Vec<String> {
    let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs_conn"));
    let text = text.unwrap_or_else(|error| panic!("ip_vs_conn of {}: {error}", netns.name()));
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The conntrack entries of the namespace, both families, one line each.
pub fn conntrack(netns: &Netns) -> Vec<String> {
    let list = |family: &str| netns.check("conntrack", &["-L", "-f", family]);
    [list("ipv4"), list("ipv6")].iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

/// The namespace's nftables ruleset, in nft's words, without what its counters have counted.
pub fn nft(netns: &Netns) -> String {
    uncounted(&netns.check("nft", &["list", "ruleset"]))
}

/// What nft lists, without the figures of its counters.
pub fn uncounted(listed: &str) -> String {
    let mut pieces = listed.split(" counter packets ");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        // `11024 bytes 404806 : goto …`
        let end = piece.match_indices(|it: char| !it.is_ascii_digit()).nth("_bytes_".len());
        text + end.map_or("", |(end, _)| &piece[end..])
    })
}

/// What a failed test wants to know of a namespace.
pub fn evidence(netns: &Netns) -> String {
    let mut text = format!("--- {}\n", netns.name());
    for (program, args) in
        [("ipvsadm", "-Ln"), ("ipvsadm", "-Lnc"), ("nft", "list ruleset"), ("ip", "-s -br addr")]
    {
        let output = netns.output(program, &args.split(' ').collect::<Vec<_>>());
        text += &format!("$ {program} {args}\n{}", String::from_utf8_lossy(&output.stdout));
        text += &String::from_utf8_lossy(&output.stderr);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::parse_services;

    #[test]
    fn figures_of_counters_are_left_out() {
        let listed =
            "{ a . 1 counter packets 11 bytes 405 : goto x,\n b . 2 counter packets 0 bytes 0 : goto y }";
        assert_eq!(super::uncounted(listed), "{ a . 1 : goto x,\n b . 2 : goto y }");
        assert_eq!(super::uncounted("nothing"), "nothing");
    }

    #[test]
    fn services_and_servers_as_ipvsadm_saves_them() {
        let text = "-A -u 192.0.2.53:53 -s rr -o\n\
                    -a -u 192.0.2.53:53 -r 10.0.1.11:5300 -m -w 1\n\
                    -a -u 192.0.2.53:53 -r 10.0.1.12:5300 -m -w 0\n\
                    -A -u [2001:db8::53]:53 -s wrr\n\
                    -a -u [2001:db8::53]:53 -r [fd00:1::11]:53 -i -w 7\n\
                    -A -f 7 -s sh\n";
        let services = parse_services(text);
        assert_eq!(services.len(), 3);
        assert!(services[0].ops && !services[1].ops);
        assert_eq!(services[0].servers.iter().map(|server| server.weight).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(services[1].servers[0].address, "[fd00:1::11]:53".parse().unwrap());
        assert_eq!((services[1].servers[0].forward, services[1].servers[0].weight), ("tunnel", 7));
        assert_eq!((services[2].key.as_str(), services[2].scheduler.as_str()), ("fwmark 7", "sh"));
    }
}
