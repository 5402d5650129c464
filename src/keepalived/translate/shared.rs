//! What several servers or services say alike is said once.

use rustc_hash::FxHashMap;

use super::super::model::RealServer;
use super::document::{Document, Item, Table, Value};

/// Where checks differ in their servers' addresses (and ports) alone, these are left to `{address}` (and `{port}`).
pub fn generalise(servers: &[RealServer], checks: &mut [Item]) {
    if alike(checks) {
        return;
    }
    for ports in [false, true] {
        let general = servers.iter().zip(&*checks).map(|(server, check)| {
            let mut check = check.clone();
            let address = server.address.to_string();
            let port = server.port.to_string();
            commands(&mut check, &mut |word| {
                if ports && *word == port {
                    *word = "{port}".to_owned();
                } else {
                    *word = without(word, &address);
                }
            });
            check
        });
        let general: Vec<Item> = general.collect();
        if alike(&general) {
            checks.clone_from_slice(&general);
            return;
        }
    }
}

/// The word with `{address}` wherever the address stands, and is not a part of another one.
fn without(word: &str, address: &str) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(address) {
        let (before, after) = (&rest[..at], &rest[at + address.len()..]);
        let of_one = |c: char| c.is_ascii_hexdigit() || c == '.' || (c == ':' && address.contains(':'));
        let alone = !before.ends_with(of_one) && !after.starts_with(of_one);
        text.push_str(before);
        text.push_str(if alone { "{address}" } else { address });
        rest = after;
    }
    text + rest
}

fn alike(items: &[Item]) -> bool {
    items.windows(2).all(|two| two[0] == two[1])
}

/// The words after the program in each `command`.
fn commands(item: &mut Item, change: &mut dyn FnMut(&mut String)) {
    match &mut item.value {
        Value::List(items) => items.iter_mut().for_each(|item| commands(item, change)),
        Value::Table(Table(keys)) => {
            for (_, item) in keys.iter_mut().filter(|(key, _)| *key == "command") {
                if let Value::List(words) = &mut item.value {
                    for word in words.iter_mut().skip(1) {
                        if let Value::Text(text) = &mut word.value {
                            change(text);
                        }
                    }
                }
            }
        }
        Value::Text(_) | Value::Number(_) | Value::Bool(_) => {}
    }
}

/// What most of them are, the first one where several are as many; nothing where each of several is another.
pub fn most_common(items: &[Item]) -> Option<Item> {
    let mut counts: FxHashMap<&Item, usize> = FxHashMap::default();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let most = counts.values().copied().max().filter(|most| *most > 1 || items.len() == 1)?;
    items.iter().find(|item| counts[item] == most).cloned()
}

/// What at least two services say of these keys, and the most of them, goes into `[defaults]`.
pub fn defaults(document: &mut Document) {
    let mut defaults = Table::default();
    for (key, without) in [("check", None), ("scheduler", Some("rr")), ("forward", Some("nat"))] {
        let said = document.services.iter().filter_map(|service| service.keys.get(key).cloned());
        let said: Vec<Item> = said.collect();
        let default = most_common(&said).filter(|_| said.len() > 1);
        let built_in = without.map(|word| Item::new(word, None));
        let holds = default.as_ref().or(built_in.as_ref());
        for service in &mut document.services {
            if service.keys.get(key).is_some() && service.keys.get(key) == holds {
                service.keys.remove(key);
            }
        }
        if let Some(default) = default.filter(|default| Some(default) != built_in.as_ref()) {
            defaults.0.push((key, default));
        }
    }
    if !defaults.0.is_empty() {
        document.tables.push(("defaults", defaults));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_within_a_word_but_not_within_another_address() {
        for (word, address, text) in [
            ("10.0.0.1", "10.0.0.1", "{address}"),
            ("@10.0.0.1", "10.0.0.1", "@{address}"),
            ("10.0.0.1:53", "10.0.0.1", "{address}:53"),
            ("10.0.0.11", "10.0.0.1", "10.0.0.11"),
            ("110.0.0.1", "10.0.0.1", "110.0.0.1"),
            ("10.0.0.1.2", "10.0.0.1", "10.0.0.1.2"),
            ("[fd00::1]:53", "fd00::1", "[{address}]:53"),
            ("fd00::1:2", "fd00::1", "fd00::1:2"),
            ("http://10.0.0.1/10.0.0.12", "10.0.0.1", "http://{address}/10.0.0.12"),
        ] {
            assert_eq!(without(word, address), text);
        }
    }
}
