//! Status codes: `200`, `"200-299"`, or a list of them.

use toml::de::DeValue;

use super::super::draft::List;
use super::super::report::Problems;
use super::super::toml_table::{Value, list, place, wrong_kind};
use super::super::toml_value::number;
use crate::core::model::StatusRange;

/// Status codes; at least one.
pub fn codes(value: Value<'_>, problems: &mut Problems) -> Option<Vec<StatusRange>> {
    if !value.get_ref().is_array() {
        return range(value, problems).map(|range| vec![range]);
    }
    let List { mut items, whole } = list(value, "a list of status codes", problems, range)?;
    if items.is_empty() && whole {
        problems.error(place(value), "no status code would be right").help("`status = 200`, for example");
    }
    items.sort();
    (whole && !items.is_empty()).then_some(items)
}

fn range(value: Value<'_>, problems: &mut Problems) -> Option<StatusRange> {
    let range = match value.get_ref() {
        DeValue::Integer(_) => {
            let code = u16::try_from(number(value, problems)?).ok();
            code.map(|code| StatusRange { first: code, last: code })
        }
        DeValue::String(text) => text.split_once('-').and_then(|(first, last)| {
            Some(StatusRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        }),
        _ => {
            wrong_kind(value, "a status code such as 200 or a range such as \"200-299\"", problems);
            return None;
        }
    };
    let range = range.filter(|range| 200 <= range.first && range.first <= range.last && range.last <= 699);
    if range.is_none() {
        problems
            .error(place(value), "not a final status code, nor a range of them")
            .help("200 to 699; a range is written \"200-299\"");
    }
    range
}
