//! One line on its way from a file to its words: text that variables change, and that still knows its columns.

use crate::keepalived::place::Place;

/// A line without its comment.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    file: u32,
    number: u32,
    /// Where the text begins.
    first: Mark,
    /// Where the text does not stand at its own column any more; ordered by `at`.
    marks: Vec<Mark>,
}

/// From this byte on, the text stands at this column.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: usize,
    column: u32,
    /// All of it stands there: it is what a variable holds.
    fixed: bool,
}

impl Line {
    /// A line as it stands in its file.
    pub fn new(file: u32, number: u32, text: String) -> Self {
        let first = Mark { at: 0, column: 1, fixed: false };
        Self { text, file, number, first, marks: Vec::new() }
    }

    /// Text that was made at a place.
    pub fn made(place: Place, text: String) -> Self {
        let first = Mark { at: 0, column: place.column, fixed: true };
        Self { text, file: place.file, number: place.line, first, marks: Vec::new() }
    }

    /// The place of a byte of the text.
    pub fn place(&self, byte: usize) -> Place {
        let mark = self.mark(byte);
        Places { line: self, at: mark.at, column: mark.column, fixed: mark.fixed, next: self.marks.len() }
            .of(byte)
    }

    /// The places of bytes that are asked for in their order.
    pub fn places(&self) -> Places<'_> {
        Places { line: self, at: 0, column: self.first.column, fixed: self.first.fixed, next: 0 }
    }

    /// The line from a byte on.
    pub fn tail(&self, byte: usize) -> Self {
        self.slice(byte, self.text.len())
    }

    /// The line between two bytes.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let first = Mark { at: 0, column: self.place(start).column, fixed: self.mark(start).fixed };
        let later = self.marks.iter().filter(|mark| mark.at > start && mark.at < end);
        let marks = later.map(|mark| Mark { at: mark.at - start, ..*mark }).collect();
        Self { text: self.text[start..end].to_owned(), file: self.file, number: self.number, first, marks }
    }

    /// The line up to a byte.
    pub fn head(&self, byte: usize) -> Self {
        self.slice(0, byte)
    }

    /// Adds another line's text, which keeps its columns.
    pub fn push(&mut self, other: &Self) {
        let at = self.text.len();
        self.marks.push(Mark { at, ..other.first });
        self.marks.extend(other.marks.iter().map(|mark| Mark { at: mark.at + at, ..*mark }));
        self.text.push_str(&other.text);
    }

    /// Puts `text` in the place of a range of bytes.
    pub fn replace(&mut self, start: usize, end: usize, text: &str) {
        let made = Self::made(self.place(start), text.to_owned());
        let tail = self.tail(end);
        let mut whole = self.head(start);
        whole.push(&made);
        whole.push(&tail);
        *self = whole;
    }

    fn mark(&self, byte: usize) -> Mark {
        let index = self.marks.partition_point(|mark| mark.at <= byte);
        match index.checked_sub(1) {
            Some(index) => self.marks[index],
            None => self.first,
        }
    }
}

/// Goes through a line from left to right, so that all its places cost one look at it.
#[derive(Debug)]
pub struct Places<'a> {
    line: &'a Line,
    at: usize,
    column: u32,
    fixed: bool,
    /// The first mark after `at`.
    next: usize,
}

impl Places<'_> {
    /// The place of a byte; none may be before the one that was asked for last.
    pub fn of(&mut self, byte: usize) -> Place {
        while let Some(mark) = self.line.marks.get(self.next).filter(|mark| mark.at <= byte) {
            (self.at, self.column, self.fixed) = (mark.at, mark.column, mark.fixed);
            self.next += 1;
        }
        if !self.fixed {
            self.column += self.line.text.get(self.at..byte).map_or(0, |text| text.chars().count()) as u32;
        }
        self.at = byte;
        Place { file: self.line.file, line: self.line.number, column: self.column }
    }
}

/// The text before a comment: from `#` or `!` on, outside double quotes, the rest of a line is one.
pub fn without_comment(text: &str) -> &str {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b'!' if !quoted => return &text[..at],
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(line: &Line, words: &[&str]) -> Vec<u32> {
        words.iter().map(|word| line.place(line.text.find(word).unwrap()).column).collect()
    }

    #[test]
    fn what_a_variable_made_stands_where_it_was_used() {
        let mut line = Line::new(0, 7, "a $B c".to_owned());
        line.replace(2, 4, "b1 b2");
        assert_eq!(line.text, "a b1 b2 c");
        assert_eq!(columns(&line, &["a", "b1", "b2", "c"]), [1, 3, 3, 6]);
        line.replace(5, 7, "deep");
        assert_eq!(columns(&line, &["a", "b1", "deep", "c"]), [1, 3, 3, 6]);
        assert_eq!(columns(&line.tail(5), &["deep", "c"]), [3, 6]);
        assert_eq!(line.place(5).line, 7);
    }

    #[test]
    fn a_column_counts_characters() {
        assert_eq!(columns(&Line::new(0, 1, "\"ä ö\" x".to_owned()), &["x"]), [7]);
    }

    #[test]
    fn a_comment_ends_a_line_but_not_within_quotes() {
        assert_eq!(without_comment("a \"b # c\" d # e"), "a \"b # c\" d ");
        assert_eq!(without_comment("foo!bar"), "foo");
    }
}
