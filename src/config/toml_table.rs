//! Tables of a TOML file: only known keys, and every value with its place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{At, Field, List};
use super::report::{Place, Problems};
use super::words::suggest;

/// A value of the file with its place.
pub type Value<'a> = &'a Spanned<DeValue<'a>>;

/// A table whose keys are all known.
pub struct Table<'a> {
    entries: &'a DeTable<'a>,
    pub place: Place,
}

/// Where a value stands.
pub fn place(value: Value<'_>) -> Place {
    at(value.span())
}

fn at(span: std::ops::Range<usize>) -> Place {
    Place { start: span.start, end: span.end }
}

/// A value of the wrong kind.
pub fn wrong_kind(value: Value<'_>, wanted: &str, problems: &mut Problems) {
    let found = value.get_ref().type_str();
    problems.error(place(value), format!("expected {wanted}, found {} {found}", article(found)));
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'i']) { "an" } else { "a" }
}

impl<'a> Table<'a> {
    /// A table that may have `keys` and no others; an error for every other key.
    pub fn new(
        entries: &'a DeTable<'a>,
        place: Place,
        what: &str,
        keys: &[&str],
        problems: &mut Problems,
    ) -> Self {
        for key in entries.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let problem =
                    problems.error(at(key.span()), format!("unknown key `{}` in {what}", key.get_ref()));
                problem.help(suggest(key.get_ref(), keys));
            }
        }
        Self { entries, place }
    }

    /// The value of a key as `read` understands it.
    pub fn get<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl FnOnce(Value<'a>, &mut Problems) -> Option<T>,
    ) -> Field<T> {
        match self.entries.get(key) {
            None => Field::Missing,
            Some(value) => match read(value, problems) {
                Some(read) => Field::Given(At { value: read, place: place(value) }),
                None => Field::Broken,
            },
        }
    }

    /// Where a key stands.
    pub fn key_place(&self, key: &str) -> Option<Place> {
        self.entries.get_key_value(key).map(|(key, _)| at(key.span()))
    }
}

/// The entries of a list, those that `read` understands.
pub fn list<'a, T>(
    value: Value<'a>,
    wanted: &str,
    problems: &mut Problems,
    mut read: impl FnMut(Value<'a>, &mut Problems) -> Option<T>,
) -> Option<List<T>> {
    let Some(array) = value.get_ref().as_array() else {
        wrong_kind(value, wanted, problems);
        return None;
    };
    let items: Vec<T> = array.iter().filter_map(|entry| read(entry, problems)).collect();
    let whole = items.len() == array.len();
    Some(List { items, whole })
}

/// The table that `value` is, with none but these keys; none if it is no table.
pub fn table<'a>(value: Value<'a>, what: &str, keys: &[&str], problems: &mut Problems) -> Option<Table<'a>> {
    let Some(entries) = value.get_ref().as_table() else {
        wrong_kind(value, "a table", problems);
        return None;
    };
    Some(Table::new(entries, place(value), what, keys, problems))
}
