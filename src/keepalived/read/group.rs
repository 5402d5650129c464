//! `virtual_server_group`: addresses, ranges, masks and marks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reading;
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::{Block, keyword};
use crate::keepalived::model::{Family, Group, Member};
use crate::keepalived::place::At;
use crate::keepalived::tree::Statement;

impl Reading<'_> {
    pub fn group(&mut self, statement: &Statement, block: &[Statement]) {
        let Some(name) = self.text(statement) else { return };
        let mut members = Vec::new();
        for line in block {
            let member = if line.keyword() == "fwmark" { self.fwmark(line) } else { self.addresses(line) };
            members.extend(member.map(|value| At { value, place: line.place() }));
            if line.block.is_some() {
                self.findings.error(Rule::Brace, line.place(), "an address takes no block");
            }
        }
        if members.is_empty() {
            let message = format!("group `{}` has no entries, and is ignored", name.value);
            self.findings.error(Rule::Incomplete, statement.place(), message);
            return;
        }
        if self.lvs.groups.iter().any(|group| group.name.value == name.value) {
            let message = format!("group `{}` is there already", name.value);
            self.findings.note(Rule::UnknownName, name.place, message);
        }
        self.lvs.groups.push(Group { name, members });
    }

    fn fwmark(&mut self, line: &Statement) -> Option<Member> {
        let known = keyword(Block::VirtualServerGroup, "fwmark");
        self.lvs.keywords.extend(known.map(|value| At { value, place: line.place() }));
        let mark = self.number(line, 0..=u32::MAX.into())?.value;
        let family = match line.word(2).map(|word| (word, word.text.as_str())) {
            None => None,
            Some((_, "inet")) => Some(Family::Inet),
            Some((_, "inet6")) => Some(Family::Inet6),
            Some((word, _)) => {
                self.bad(word, "the family of a mark", "inet or inet6");
                return None;
            }
        };
        Some(Member::Fwmark { mark, family })
    }

    fn addresses(&mut self, line: &Statement) -> Option<Member> {
        let word = &line.words[0];
        let range = match range(&word.text) {
            Ok(range) => range,
            Err(reason) => {
                self.findings.error(
                    Rule::BadValue,
                    word.place,
                    format!("`{}` is no address of a group: {reason}", word.text),
                );
                return None;
            }
        };
        let port = self.port(line.word(1))?.unwrap_or(0);
        Some(Member::Addresses { first: range.0, last: range.1, port })
    }
}

/// `ADDRESS`, `ADDRESS/MASK`, `ADDRESS-ADDRESS` or `ADDRESS-LAST`, where the last part is that of the address.
fn range(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let parsed = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is no address"));
    if let Some((address, length)) = text.split_once('/') {
        let first = parsed(address)?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let length = length.parse::<u32>().ok().filter(|length| (1..=bits).contains(length));
        let length = length.ok_or_else(|| format!("the mask is not 1 to {bits}"))?;
        let hosts = u128::MAX.checked_shr(128 - bits + length).unwrap_or(0);
        let number = number(first);
        return match number & hosts {
            0 => Ok((first, address_of(number | hosts, first))),
            _ => Err("bits are set that the mask leaves out".to_owned()),
        };
    }
    let Some((first, last)) = text.split_once('-') else {
        let first = parsed(text)?;
        return Ok((first, first));
    };
    let first = parsed(first)?;
    let last = if last.contains(['.', ':']) {
        parsed(last)?
    } else {
        let (radix, most) = if first.is_ipv4() { (10, 0xff) } else { (16, 0xffff) };
        let part = u32::from_str_radix(last, radix).map_err(|_| format!("`{last}` is no end of a range"))?;
        if part > most {
            return Err(format!("the end `{last}` is too large"));
        }
        address_of(number(first) & !u128::from(most) | u128::from(part), first)
    };
    if first.is_ipv4() != last.is_ipv4() {
        return Err("its ends are of two families".to_owned());
    }
    if last <= first {
        return Err("its end is not after its start".to_owned());
    }
    Ok((first, last))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address_of(number: u128, like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken or not as keepalived 2.2.7 does.
    #[test]
    fn ranges_and_masks() {
        let cases = [
            ("10.0.0.1", Some("10.0.0.1 10.0.0.1")),
            ("10.0.0.1-5", Some("10.0.0.1 10.0.0.5")),
            ("10.0.0.1-10.0.1.5", Some("10.0.0.1 10.0.1.5")),
            ("10.0.0.0/29", Some("10.0.0.0 10.0.0.7")),
            ("10.0.0.1/32", Some("10.0.0.1 10.0.0.1")),
            ("fd00::/120", Some("fd00:: fd00::ff")),
            ("fd00::1-ff", Some("fd00::1 fd00::ff")),
            ("fd00::1-fd00::5", Some("fd00::1 fd00::5")),
            ("fd00::5/128", Some("fd00::5 fd00::5")),
        ];
        for (text, expected) in cases {
            let found = range(text).map(|(first, last)| format!("{first} {last}"));
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        }
        for text in [
            "10.0.0.5-1",
            "10.0.0.1-1",
            "10.0.0.1-300",
            "10.0.0.1/29",
            "10.0.0.0/33",
            "10.0.0.0/0",
            "fd00::1-5g",
            "x",
            "10.0.0.1-x",
            "10.0.0.1-fd00::1",
            "fd00::/129",
            "fd00::1-10000",
            "-",
            "/",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
