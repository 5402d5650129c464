//! Values of a TOML file: text, numbers, addresses, durations, choices, bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use super::report::Problems;
use super::toml_table::{Value, place, wrong_kind};
use super::words::suggest;
use crate::core::model::Vip;

/// Text.
pub fn string(value: Value<'_>, problems: &mut Problems) -> Option<String> {
    text(value, "a string", problems).map(str::to_owned)
}

/// `true` or `false`.
pub fn boolean(value: Value<'_>, problems: &mut Problems) -> Option<bool> {
    let boolean = value.get_ref().as_bool();
    if boolean.is_none() {
        wrong_kind(value, "`true` or `false`", problems);
    }
    boolean
}

/// A whole number.
pub fn number(value: Value<'_>, problems: &mut Problems) -> Option<i64> {
    let DeValue::Integer(number) = value.get_ref() else {
        wrong_kind(value, "a whole number", problems);
        return None;
    };
    let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
    if read.is_none() {
        problems.error(place(value), format!("{number} is out of every range"));
    }
    read
}

/// One of several words.
pub fn choice<T: Copy>(value: Value<'_>, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let word = text(value, "a string", problems)?;
    if let Some((_, meaning)) = words.iter().find(|(known, _)| *known == word) {
        return Some(*meaning);
    }
    let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
    problems.error(place(value), format!("unknown value `{word}`")).help(suggest(word, &known));
    None
}

/// An address and a port.
pub fn socket_address(value: Value<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let word = text(value, "an address with a port", problems)?;
    let (what, help) = match word.parse() {
        Ok(SocketAddr::V6(v6)) if v6.scope_id() != 0 && !v6.ip().is_unicast_link_local() => (
            "names an interface",
            format!("write `[{}]:{}`: the interface follows from the routes", v6.ip(), v6.port()),
        ),
        Ok(address) => return Some(address),
        Err(_) => {
            let help = match word.parse() {
                Ok(IpAddr::V4(v4)) => format!("add the port: `{v4}:53`"),
                Ok(IpAddr::V6(v6)) => format!("add brackets and the port: `[{v6}]:53`"),
                Err(_) => "written `192.0.2.1:53` or `[2001:db8::1]:53`; names are not looked up".to_owned(),
            };
            ("is not an address with a port", help)
        }
    };
    problems.error(place(value), format!("`{word}` {what}")).help(help);
    None
}

/// Where a service listens.
pub fn vip(value: Value<'_>, problems: &mut Problems) -> Option<Vip> {
    let word = text(value, "an address with a port", problems)?;
    if !word.contains('/') && !word.starts_with("fwmark") {
        return socket_address(value, problems).map(Vip::from);
    }
    let vip = word.parse().ok();
    if vip.is_none() {
        problems.error(place(value), format!("`{word}` is not a place to listen at")).help(
            "written `192.0.2.53:53`, with `/tcp` or `/sctp` where it is not UDP, or `fwmark 7`, `fwmark 7/ipv6`",
        );
    }
    vip
}

/// An address.
pub fn ip_address(value: Value<'_>, problems: &mut Problems) -> Option<IpAddr> {
    let word = text(value, "an address", problems)?;
    let address = word.parse().ok();
    if address.is_none() {
        problems
            .error(place(value), format!("`{word}` is not an address"))
            .help("written `192.0.2.1` or `2001:db8::1`; names are not looked up");
    }
    address
}

/// A duration with its unit.
pub fn duration(value: Value<'_>, problems: &mut Problems) -> Option<Duration> {
    if let DeValue::Integer(number) = value.get_ref() {
        problems
            .error(place(value), format!("the duration {number} has no unit"))
            .help("write it as text with a unit: \"500ms\", \"2s\", \"1m 30s\"");
        return None;
    }
    let word = text(value, "a duration such as \"500ms\"", problems)?;
    match humantime::parse_duration(word) {
        Ok(duration) => Some(duration),
        Err(error) => {
            problems
                .error(place(value), format!("`{word}` is not a duration: {error}"))
                .help("a number and a unit: \"500ms\", \"2s\", \"1m 30s\"");
            None
        }
    }
}

/// Bytes written as pairs of hexadecimal digits, with or without blanks between bytes.
pub fn hex(value: Value<'_>, problems: &mut Problems) -> Option<Vec<u8>> {
    let word = text(value, "bytes as hexadecimal digits", problems)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> =
        word.split_ascii_whitespace().flat_map(|digits| digits.as_bytes().chunks(2)).map(pair).collect();
    if bytes.is_none() {
        problems
            .error(place(value), "not bytes as hexadecimal digits")
            .help("two digits for each byte, blanks between bytes allowed: \"0c 2a ff\"");
    }
    bytes
}

fn text<'a>(value: Value<'a>, wanted: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        wrong_kind(value, wanted, problems);
    }
    text
}
