//! Where something stands: in which of the files that were read, at which line and column.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in one of the files of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file, as an index for [`Sources::path`].
    pub file: u32,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place; of what a variable or a `~SEQ` made, the place where that was used.
    pub place: Place,
}

/// The files that were read, the first one first, an included one when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<(PathBuf, Arc<str>)>,
}

impl Sources {
    /// The path of a file, as it was opened.
    pub fn path(&self, file: u32) -> &Path {
        self.files.get(file as usize).map_or(Path::new(""), |(path, _)| path.as_path())
    }

    /// All files with their texts, in the order of their numbers; a file that was included twice is there twice.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&Path, &str)> {
        self.files.iter().map(|(path, text)| (path.as_path(), &**text))
    }

    pub(super) fn add(&mut self, path: PathBuf, text: impl Into<Arc<str>>) -> u32 {
        self.files.push((path, text.into()));
        (self.files.len() - 1) as u32
    }
}

impl<T> At<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), place: self.place }
    }
}
