//! What several types of checks do with a key's value.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::super::draft::{At, Field, List};
use super::super::report::Problems;
use super::super::toml_table::{Table, Value, list, place};
use super::super::toml_value::string;
use super::super::words::suggest;

/// The number, `default` where there is none; it lies in `range`. `what` is its name in errors.
pub fn number<T>(
    what: &str,
    field: &Field<i64>,
    default: T,
    range: RangeInclusive<T>,
    problems: &mut Problems,
) -> Option<T>
where
    T: Copy + Display + PartialOrd + TryFrom<i64>,
{
    match field {
        Field::Missing => Some(default),
        Field::Broken => None,
        Field::Given(at) => at.within(what, range, problems),
    }
}

/// One of the words known, in upper case.
pub fn word(what: &str, at: &At<String>, known: &[&str], problems: &mut Problems) -> Option<String> {
    let upper = at.value.to_ascii_uppercase();
    if known.contains(&upper.as_str()) {
        return Some(upper);
    }
    problems.error(at.place, format!("unknown {what} `{}`", at.value)).help(suggest(&upper, known));
    None
}

/// A text or a list of texts.
pub fn texts(value: Value<'_>, problems: &mut Problems) -> Option<List<At<String>>> {
    let text = |value: Value<'_>, problems: &mut Problems| {
        Some(At { value: string(value, problems)?, place: place(value) })
    };
    if value.get_ref().is_array() {
        return list(value, "a list", problems, text);
    }
    text(value, problems).map(|text| List { items: vec![text], whole: true })
}

/// The one of several keys for the same thing that the file has.
pub fn one_of<T, const N: usize>(
    table: &Table<'_>,
    fields: [(&str, Field<T>); N],
    problems: &mut Problems,
) -> Field<T> {
    let mut found: Vec<_> = fields
        .into_iter()
        .filter_map(|(key, field)| table.key_place(key).map(|place| (place, key, field)))
        .collect();
    found.sort_by_key(|(place, ..)| *place);
    let mut found = found.into_iter();
    let (Some((first_place, first, field)), second) = (found.next(), found.next()) else {
        return Field::Missing;
    };
    let Some((place, second, _)) = second else { return field };
    problems
        .error(place, format!("`{first}` and `{second}` exclude each other"))
        .related(first_place, "the other one")
        .help("keep one of them");
    Field::Broken
}
