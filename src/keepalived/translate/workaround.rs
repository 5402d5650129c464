//! Scripts that switch one-packet scheduling on with `ipvsadm`: whose service they edit, and that they do nothing else.

use std::net::{IpAddr, SocketAddr};

/// The scheduler that `ipvsadm` gives a service if it is told none.
const DEFAULT: &str = "wlc";

/// The service that an `ipvsadm` edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edited {
    /// A UDP service by its address.
    Address(SocketAddr),
    /// One by its firewall mark.
    Mark(u32),
}

/// A service that is given one-packet scheduling, and the scheduler that it is given with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Whose.
    pub edited: Edited,
    /// The scheduler's name.
    pub scheduler: String,
}

/// What the commands of a shell's text edit; none if there is no edit, or anything else is done.
pub fn of_text(text: &str) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        for command in line.split("&&").flat_map(|part| part.split("||")).flat_map(|part| part.split(';')) {
            let words: Vec<&str> = command.split_whitespace().collect();
            match words[..] {
                [] | ["true" | ":" | "set" | "sleep" | "exit", ..] => {}
                _ => edits.push(of_words(&words)?),
            }
        }
    }
    (!edits.is_empty()).then_some(edits)
}

/// What one command edits; none if it is no `ipvsadm`, or does more than to set the flag and the scheduler.
pub fn of_words(words: &[&str]) -> Option<Edit> {
    let (name, options) = words.split_first()?;
    if program(name) != "ipvsadm" {
        return None;
    }
    let (mut edits, mut ops, mut edited, mut scheduler) = (false, false, None, DEFAULT.to_owned());
    let mut options = options.iter().copied().filter(|word| !is_redirection(word));
    while let Some(option) = options.next() {
        let (letters, mut value) = match option.strip_prefix("--") {
            Some(long) => {
                let (long, value) =
                    long.split_once('=').map_or((long, None), |(long, value)| (long, Some(value)));
                let letter = match long {
                    "edit-service" => "E",
                    "ops" => "o",
                    "ipv6" => "6",
                    "udp-service" => "u",
                    "fwmark-service" => "f",
                    "scheduler" => "s",
                    _ => return None,
                };
                (letter, value)
            }
            None => (option.strip_prefix('-')?, None),
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'E' => edits = true,
                'o' => ops = true,
                '6' => {}
                'u' | 'f' | 's' => {
                    let rest = &letters[at + 1..];
                    let value =
                        value.take().or((!rest.is_empty()).then_some(rest)).or_else(|| options.next())?;
                    match letter {
                        'u' => edited = Some(Edited::Address(address(value)?)),
                        'f' => edited = Some(Edited::Mark(value.parse().ok()?)),
                        _ => value.clone_into(&mut scheduler),
                    }
                    break;
                }
                _ => return None,
            }
        }
    }
    edited.filter(|_| edits && ops).map(|edited| Edit { edited, scheduler })
}

fn address(text: &str) -> Option<SocketAddr> {
    let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
    text.parse().ok().or_else(alone)
}

/// `>/dev/null`, `2>&1` and their like.
fn is_redirection(word: &str) -> bool {
    word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&').starts_with('>')
        && word.ends_with(['l', '1', '2'])
}

/// A program's name without its folder.
pub fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> String {
        let Some(edits) = of_text(text) else { return "no".to_owned() };
        let shown = edits.iter().map(|Edit { edited, scheduler }| match edited {
            Edited::Address(vip) => format!("{vip} {scheduler}"),
            Edited::Mark(mark) => format!("{mark} {scheduler}"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_what_does_nothing_else_is_one_packet_scheduling() {
        let vip = "192.0.2.1:53";
        for (text, expected) in [
            ("ipvsadm -E -u VIP --ops -s rr", "VIP rr"),
            ("/sbin/ipvsadm -Eu VIP -o", "VIP wlc"),
            ("ipvsadm -E -uVIP -os sh", "VIP sh"),
            ("ipvsadm --edit-service --udp-service=VIP --scheduler rr --ops >/dev/null 2>&1", "VIP rr"),
            (
                "#!/bin/sh\n# the flag\nset -e\nsleep 1 && /sbin/ipvsadm -E -u VIP -o -s rr || true\nipvsadm -E -f 7 -o; exit 0",
                "VIP rr, 7 wlc",
            ),
            ("ipvsadm -E -u [2001:db8::1]:53 -o", "[2001:db8::1]:53 wlc"),
            ("ipvsadm -E -u VIP --ops && logger done", "no"),
            ("ipvsadm -E -u VIP --ops -p 60", "no"),
            ("ipvsadm -E -u $VIP --ops", "no"),
            ("ipvsadm -E -u VIP -s rr", "no"),
            ("ipvsadm -A -u VIP --ops", "no"),
            ("ipvsadm -E -t VIP --ops", "no"),
            ("ipvsadm -E -u VIP --ops\nip addr add 192.0.2.1 dev lo", "no"),
            ("ipvsadm -E --ops -u", "no"),
            ("#!/bin/sh\n", "no"),
            ("", "no"),
        ] {
            assert_eq!(
                seen(&text.replace("$VIP", "$X").replace("VIP", vip)),
                expected.replace("VIP", vip),
                "{text}"
            );
        }
    }
}
