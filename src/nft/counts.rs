//! What the elements of the map of replies have counted, read from `nft -j list map`.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::core::traffic::Count;

#[derive(Deserialize)]
struct Printed<'a> {
    #[serde(borrow)]
    nftables: Vec<Object<'a>>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    map: Option<Map<'a>>,
}

#[derive(Deserialize)]
struct Map<'a> {
    #[serde(borrow, default)]
    elem: Vec<&'a RawValue>,
}

/// `[{"elem": {"val": {"concat": ["10.0.1.11", 53]}, "counter": {"packets": 1, "bytes": 28}}}, {"goto": …}]`
#[derive(Deserialize)]
struct Element(Counted, #[allow(dead_code)] IgnoredAny);

#[derive(Deserialize)]
struct Counted {
    elem: Inner,
}

#[derive(Deserialize)]
struct Inner {
    val: Key,
    counter: Counter,
}

#[derive(Deserialize)]
struct Key {
    concat: (IpAddr, u16),
}

#[derive(Deserialize)]
struct Counter {
    packets: u64,
    bytes: u64,
}

/// The server of each element that counts, and its count.
///
/// # Errors
/// It is not what nft prints. The elements in it may be anything.
pub fn read(printed: &[u8]) -> Result<impl Iterator<Item = (SocketAddr, Count)>, serde_json::Error> {
    let printed: Printed<'_> = serde_json::from_slice(printed)?;
    let elements = printed.nftables.into_iter().filter_map(|object| object.map).flat_map(|map| map.elem);
    Ok(elements.filter_map(|element| {
        let Element(Counted { elem: Inner { val, counter } }, _) =
            serde_json::from_str(element.get()).ok()?;
        let Counter { packets, bytes } = counter;
        Some((val.concat.into(), Count { packets, bytes }))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_that_count_are_read_and_others_passed_over() {
        let goto = r#"{"goto": {"target": "to-192.0.2.53"}}"#;
        let counted =
            r#"{"elem": {"val": {"concat": ["2001:db8::1", 53]}, "counter": {"packets": 3, "bytes": 90}}}"#;
        let text = format!(
            r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6"}}}}, {{"map": {{"family": "ip6", "elem":
            [[{counted}, {goto}], [{{"concat": ["2001:db8::2", 53]}}, {goto}], [{{"concat": 7}}, {goto}], "x"]}}}}]}}"#
        );
        let read: Vec<_> = read(text.as_bytes()).unwrap().collect();
        assert_eq!(read, [("[2001:db8::1]:53".parse().unwrap(), Count { packets: 3, bytes: 90 })]);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(
            element in "[\\[\\]{}:,\"a-z0-9 ]{0,40}", counter in any::<u64>(), cut in 0..200usize,
        ) {
            let text = format!(
                r#"{{"nftables": [{{"map": {{"elem": [{element}, [{{"elem": {{"val": {{"concat": ["10.0.0.1", {counter}]}},
                "counter": {{"packets": {counter}, "bytes": 1}}}}}}, {{}}]]}}}}]}}"#
            );
            for text in [&text[..], text.get(..cut).unwrap_or_default()] {
                let _ = read(text.as_bytes()).map(Iterator::count);
            }
        }
    }
}
