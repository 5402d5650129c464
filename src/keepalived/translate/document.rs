//! A TOML document in the making: values with the place in keepalived.conf that they come from, and how they are written.

use std::fmt::Write;

use super::super::place::{Place, Sources};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Item>),
    Table(Table),
}

/// A value and where it comes from. Two with the same value are the same.
#[derive(Clone, Debug)]
pub struct Item {
    pub value: Value,
    pub place: Option<Place>,
}

/// Keys and their values, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table(pub Vec<(&'static str, Item)>);

/// A whole file.
#[derive(Debug, Default)]
pub struct Document {
    /// `[kernel]`, `[notify]` and the like, those that are not empty.
    pub tables: Vec<(&'static str, Table)>,
    /// Each `[[service]]`.
    pub services: Vec<Service>,
}

/// One `[[service]]`.
#[derive(Debug)]
pub struct Service {
    pub place: Place,
    pub keys: Table,
}

/// The text of a document, and where each part of it comes from.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The TOML.
    pub text: String,
    /// Ranges of its bytes; of two that overlap the inner one stands first.
    origins: Vec<(std::ops::Range<usize>, Place)>,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Item {}

impl std::hash::Hash for Item {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<Item>> for Value {
    fn from(items: Vec<Item>) -> Self {
        Self::List(items)
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

macro_rules! numbers {
    ($($of:ty),*) => {$(
        impl From<$of> for Value {
            fn from(number: $of) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}
numbers!(u8, u16, u32, i64);

impl Item {
    pub fn new(value: impl Into<Value>, place: impl Into<Option<Place>>) -> Self {
        Self { value: value.into(), place: place.into() }
    }
}

impl Table {
    /// Adds a key.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>, place: impl Into<Option<Place>>) {
        self.0.push((key, Item::new(value, place)));
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, item)| item)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| *name != key);
    }
}

impl Written {
    /// Where the byte at this offset comes from; the first place of the file if nobody knows.
    pub fn origin(&self, byte: usize) -> Place {
        let found = self.origins.iter().find(|(range, _)| range.contains(&byte) || range.start == byte);
        found.map_or(Place { file: 0, line: 1, column: 1 }, |(_, place)| *place)
    }
}

impl Document {
    /// The text. `sources` are named in comments.
    pub fn write(&self, sources: &Sources) -> Written {
        let mut writer = Writer { sources, written: Written::default() };
        for (name, table) in &self.tables {
            writer.line(&format!("[{name}]"));
            writer.keys(table);
        }
        for service in &self.services {
            let start = writer.written.text.len();
            writer.line(&format!("[[service]] # {}", writer.called(service.place)));
            writer.keys(&service.keys);
            writer.came_from(start, service.place);
        }
        writer.written
    }
}

struct Writer<'a> {
    sources: &'a Sources,
    written: Written,
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        if !self.written.text.is_empty() {
            self.written.text.push('\n');
        }
        self.written.text.push_str(text);
        self.written.text.push('\n');
    }

    fn came_from(&mut self, start: usize, place: impl Into<Option<Place>>) {
        if let Some(place) = place.into() {
            self.written.origins.push((start..self.written.text.len(), place));
        }
    }

    /// `keepalived.conf:12`
    fn called(&self, place: Place) -> String {
        let path = self.sources.path(place.file);
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        format!("{}:{}", name.replace(char::is_control, "?"), place.line)
    }

    /// A line for each key. Servers and other long lists have a line for each item.
    fn keys(&mut self, table: &Table) {
        for (key, item) in &table.0 {
            let start = self.written.text.len();
            self.written.text.push_str(key);
            self.written.text.push_str(" = ");
            match &item.value {
                Value::List(items) if *key == "servers" || items.len() > 4 => self.lines(items),
                _ => self.item(item),
            }
            self.came_from(start, item.place);
            self.written.text.push('\n');
        }
    }

    fn lines(&mut self, items: &[Item]) {
        self.written.text.push_str("[\n");
        for item in items {
            self.written.text.push_str("    ");
            self.item(item);
            self.written.text.push(',');
            if let Some(place) = item.place {
                let called = self.called(place);
                let _ = write!(self.written.text, " # {called}");
            }
            self.written.text.push('\n');
        }
        self.written.text.push(']');
    }

    fn item(&mut self, item: &Item) {
        let start = self.written.text.len();
        match &item.value {
            Value::Text(text) => {
                let _ = write!(self.written.text, "{}", toml::Value::from(text.as_str()));
            }
            Value::Number(number) => {
                let _ = write!(self.written.text, "{number}");
            }
            Value::Bool(value) => {
                let _ = write!(self.written.text, "{value}");
            }
            Value::List(items) => {
                self.written.text.push('[');
                self.joined(items.iter(), |writer, item| writer.item(item));
                self.written.text.push(']');
            }
            Value::Table(table) => {
                self.written.text.push_str("{ ");
                self.joined(table.0.iter(), |writer, (key, item)| {
                    writer.written.text.push_str(key);
                    writer.written.text.push_str(" = ");
                    writer.item(item);
                });
                self.written.text.push_str(" }");
            }
        }
        self.came_from(start, item.place);
    }

    fn joined<T>(&mut self, items: impl Iterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.written.text.push_str(", ");
            }
            each(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(line: u32) -> Place {
        Place { file: 0, line, column: 1 }
    }

    #[test]
    fn each_byte_has_the_innermost_origin() {
        let mut keys = Table::default();
        keys.set("name", "dns", None);
        keys.set(
            "servers",
            vec![Item::new("10.0.0.1:53", place(5)), Item::new("10.0.0.2:53", place(9))],
            None,
        );
        let mut check = Table::default();
        check.set("type", "udp", place(11));
        check.set("fall", 3_u32, place(12));
        keys.set("check", check, place(10));
        let document = Document { tables: Vec::new(), services: vec![Service { place: place(2), keys }] };
        let mut sources = Sources::default();
        sources.add("/etc/keepalived/keepalived.conf".into(), "");
        let written = document.write(&sources);
        insta::assert_snapshot!(written.text);
        for (part, line) in [("name", 2), ("10.0.0.2", 9), ("udp", 11), ("fall", 10), ("3 }", 12)] {
            let at = written.text.find(part).expect(part);
            assert_eq!(written.origin(at), place(line), "{part}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_so_that_it_can_be_read(text in any::<String>()) {
            let mut keys = Table::default();
            keys.set("name", text.as_str(), None);
            let service = Service { place: place(1), keys };
            let written = Document { tables: Vec::new(), services: vec![service] }.write(&Sources::default());
            let read: toml::Table = written.text.parse().expect("TOML");
            prop_assert_eq!(read["service"][0]["name"].as_str(), Some(text.as_str()));
        }
    }
}
