//! What a setting can hold, as the kernel writes it.

use std::fmt;
use std::ops::RangeInclusive;

/// What a setting can hold; implemented by this library alone.
pub trait Value: Text {}

impl<T: Text> Value for T {}

/// Seals [`Value`].
pub trait Text: Sized {
    /// The value that `text`, without white space around it, stands for.
    fn read(text: &str) -> Option<Self>;
    /// The value as the kernel reads it.
    fn write(&self) -> String;
}

/// A list of processors, such as `0-3,6`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList(pub Vec<RangeInclusive<u32>>);

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl Text for CpuList {
    fn read(text: &str) -> Option<Self> {
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        text.split(',').filter(|text| !text.is_empty()).map(range).collect::<Option<_>>().map(Self)
    }

    fn write(&self) -> String {
        // Writing no bytes at all would not be a write.
        if self.0.is_empty() { "\n".to_owned() } else { self.to_string() }
    }
}

impl Text for bool {
    fn read(text: &str) -> Option<Self> {
        Some(text.parse::<i32>().ok()? != 0)
    }

    fn write(&self) -> String {
        u8::from(*self).to_string()
    }
}

impl Text for i32 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Text for u64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Text for [i32; 2] {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().map(str::parse);
        let pair = [words.next()?.ok()?, words.next()?.ok()?];
        words.next().is_none().then_some(pair)
    }

    fn write(&self) -> String {
        format!("{}\t{}", self[0], self[1])
    }
}
