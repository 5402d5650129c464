//! `forward` of a TOML file.

use ipvs_netlink::{Forward, Tunnel, TunnelChecksum, TunnelKind};
use toml::de::DeValue;

use super::draft::Field;
use super::report::Problems;
use super::toml_table::{Table, Value, place};
use super::toml_value::{choice, number};

/// `forward`: a word, or a table for a tunnel that is not plain IP in IP.
pub fn forward(value: Value<'_>, problems: &mut Problems) -> Option<Forward> {
    let DeValue::Table(entries) = value.get_ref() else {
        let ipip = Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None };
        let words =
            [("nat", Forward::Masquerade), ("direct", Forward::Direct), ("tunnel", Forward::Tunnel(ipip))];
        return choice(value, &words, problems);
    };
    let table = Table::new(entries, place(value), "`forward`", &["tunnel", "port", "checksum"], problems);
    let kind = table
        .get("tunnel", problems, |v, p| choice(v, &[("ipip", "ipip"), ("gue", "gue"), ("gre", "gre")], p));
    let port = table.get("port", problems, number);
    let checksums =
        [("none", TunnelChecksum::None), ("full", TunnelChecksum::Full), ("remote", TunnelChecksum::Remote)];
    let checksum = table.get("checksum", problems, |v, p| choice(v, &checksums, p));
    if let Field::Missing = kind {
        problems
            .error(table.place, "`forward` as a table describes a tunnel and needs `tunnel`")
            .help("{ tunnel = \"ipip\" }, { tunnel = \"gue\", port = 6080 } or { tunnel = \"gre\" }");
    }
    let kind = kind.given()?.value;
    if let (Some(port), true) = (port.given(), kind != "gue") {
        problems.error(port.place, format!("the tunnel `{kind}` has no port")).help("remove `port`");
        return None;
    }
    if let Some(sum) = checksum.given() {
        let fits = match kind {
            "ipip" => sum.value == TunnelChecksum::None,
            "gre" => sum.value != TunnelChecksum::Remote,
            _ => true,
        };
        if !fits {
            let allowed = if kind == "ipip" { "\"none\"" } else { "\"none\" and \"full\"" };
            problems
                .error(sum.place, format!("the tunnel `{kind}` cannot have this checksum"))
                .help(format!("`{kind}` has {allowed}, `gue` has \"remote\" too"));
            return None;
        }
    }
    let kind = match kind {
        "gue" => {
            if let Field::Missing = port {
                problems
                    .error(table.place, "the tunnel `gue` needs a `port`")
                    .help("the UDP port on which the servers decapsulate, commonly 6080");
            }
            let port = port.given()?.within("`port`", 1..=u16::MAX, problems)?;
            TunnelKind::Gue { port: port.try_into().ok()? }
        }
        "gre" => TunnelKind::Gre,
        _ => TunnelKind::Ipip,
    };
    if let Field::Broken = checksum {
        return None;
    }
    Some(Forward::Tunnel(Tunnel { kind, checksum: checksum.value_or(TunnelChecksum::None) }))
}
