//! Files → lines of words. Includes, comments, `@id` conditions, variables and generators are done with here.
//!
//! ```text
//! file ─ line ─ comment ─ @id ┬─ include ──────> files, read before the next line
//!                     ^       ├─ ~SEQ, ~LST ───> the rest of the line, once for each value
//!                     │       ├─ $NAME=value ──> kept
//!                     │       └─ $NAME ────────> replaced ─┐
//!                     └────────────────────────────────────┴─ none (left) ──> words
//! ```

mod generate;
mod include;
mod line;
#[cfg(test)]
pub(super) mod tests;
mod variables;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use words::{Piece, Word, arguments};

use self::generate::Generator;
use self::line::{Line, without_comment};
use self::variables::{Used, Variables};
use super::finding::{Findings, Rule};
use super::outside::Outside;
use super::place::{Place, Sources};

/// How much one config may be. What exceeds it is no config that anybody wrote: it expands without end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Lines, and rounds of generators.
    pub steps: usize,
    /// Bytes that are looked at, each time that they are.
    pub bytes: usize,
    /// Words and braces.
    pub pieces: usize,
    /// Files within files.
    pub depth: usize,
    /// Files, generators and variables of several lines that are in the middle of something.
    pub nesting: usize,
    /// Variables replaced in one line.
    pub replacements: usize,
    /// Bytes of one line.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 4_000_000,
            bytes: 256 << 20,
            pieces: 4_000_000,
            depth: 32,
            nesting: 2_000,
            replacements: 1_000,
            line: 64 << 10,
        }
    }
}

/// Reads a config; `sink` is given the pieces of each line that has any.
pub(super) fn read(
    path: &Path,
    text: &[u8],
    outside: &dyn Outside,
    limits: Limits,
    findings: &mut Findings,
    sink: &mut dyn FnMut(Vec<Piece>),
) -> Sources {
    let mut reader = Reader {
        outside,
        limits,
        findings,
        sources: Sources::default(),
        variables: Variables::default(),
        stack: Vec::new(),
        open: Vec::new(),
    };
    reader.push_file(path.to_owned(), text, 0);
    while let Some(item) = reader.stack.pop() {
        if let Err(Exhausted(place)) = reader.take(item, sink) {
            reader.findings.error(
                Rule::Limit,
                place,
                "the config has become too large here; the rest of it is not read",
            );
            break;
        }
    }
    reader.sources
}

struct Reader<'a> {
    outside: &'a dyn Outside,
    limits: Limits,
    findings: &'a mut Findings,
    sources: Sources,
    variables: Variables,
    /// What is to be read next, the next one last.
    stack: Vec<Item>,
    /// The files that are being read or are next, as they are in the stack.
    open: Vec<Open>,
}

struct Open {
    directory: PathBuf,
    /// In how many files it is included.
    depth: usize,
}

enum Item {
    File(File),
    Line(Line),
    /// What a variable of several lines made of a line, from this byte on.
    Lines(Line, usize),
    /// The rest of a line, for each value.
    Each(Generator, Line),
}

/// A file, and how far it has been read.
struct File {
    id: u32,
    text: Arc<str>,
    at: usize,
    number: u32,
    /// The definition that the lines belong to.
    definition: Option<(String, String)>,
}

/// A limit is reached.
struct Exhausted(Place);

/// What keepalived defines itself.
struct Built<'a> {
    outside: &'a dyn Outside,
    directory: &'a Path,
}

impl Reader<'_> {
    fn push_file(&mut self, path: PathBuf, bytes: &[u8], depth: usize) {
        self.open.push(Open { directory: path.parent().unwrap_or(Path::new("")).to_owned(), depth });
        let text: Arc<str> = String::from_utf8_lossy(bytes).into();
        let id = self.sources.add(path, text.clone());
        if let Err(error) = std::str::from_utf8(bytes) {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
            let place = Place { file: id, line, column: 1 };
            self.findings.note(Rule::Text, place, "the file is not UTF-8 from here on");
        }
        self.stack.push(Item::File(File { id, text, at: 0, number: 0, definition: None }));
    }

    fn take(&mut self, item: Item, sink: &mut dyn FnMut(Vec<Piece>)) -> Result<(), Exhausted> {
        match item {
            Item::Line(line) => self.line(line, false, sink),
            Item::Lines(lines, at) => {
                let end = lines.text[at..].find('\n').map_or(lines.text.len(), |end| at + end);
                let line = lines.slice(at, end);
                if end < lines.text.len() {
                    self.stack.push(Item::Lines(lines, end + 1));
                }
                self.line(line, false, sink)
            }
            Item::Each(mut generator, rest) => {
                self.spend(1, 1, rest.place(0))?;
                if let Some(row) = generator.next() {
                    for (name, value) in row {
                        self.variables.set(&name, value);
                    }
                    self.stack.push(Item::Each(generator, rest.clone()));
                    self.stack.push(Item::Line(rest));
                }
                Ok(())
            }
            Item::File(mut file) => {
                let Some(line) = file.next() else {
                    file.define(&mut self.variables);
                    self.open.pop();
                    return Ok(());
                };
                let Some(line) = self.condition(line) else {
                    self.stack.push(Item::File(file));
                    return Ok(());
                };
                let place = line.place(0);
                if let Some((_, value)) = &mut file.definition {
                    let (more, text) = continued(&line.text);
                    self.spend(1, text.len(), place)?;
                    if !line.text.is_empty() {
                        value.push('\n');
                        value.push_str(text);
                    }
                    if !more {
                        file.define(&mut self.variables);
                    }
                    self.stack.push(Item::File(file));
                    return Ok(());
                }
                if let Some((name, start)) = variables::definition(&line.text)
                    && let (true, text) = continued(&line.text[start..])
                {
                    file.definition = Some((name.to_owned(), text.to_owned()));
                    self.stack.push(Item::File(file));
                    return Ok(());
                }
                self.stack.push(Item::File(file));
                self.line(line, true, sink)
            }
        }
    }

    /// A line whose comment is off; if it was `judged`, its condition is, too.
    fn line(
        &mut self,
        mut line: Line,
        judged: bool,
        sink: &mut dyn FnMut(Vec<Piece>),
    ) -> Result<(), Exhausted> {
        self.spend(1, line.text.len() + 1, line.place(0))?;
        let (mut judged, mut replaced) = (judged, 0);
        // What a variable holds may be a condition, an include, a generator or a definition: hence once more.
        loop {
            if !judged {
                match self.condition(line) {
                    Some(kept) => line = kept,
                    None => return Ok(()),
                }
            }
            if line.text.is_empty() || self.special(&line)? {
                return Ok(());
            }
            let before = replaced;
            let Some(changed) = self.replace(line, &mut replaced)? else { return Ok(()) };
            line = changed;
            if replaced == before {
                break;
            }
            judged = false;
        }
        let pieces = words::split(&line, self.findings);
        let place = line.place(0);
        self.limits.pieces = self.limits.pieces.checked_sub(pieces.len()).ok_or(Exhausted(place))?;
        if !pieces.is_empty() {
            sink(pieces);
        }
        Ok(())
    }

    /// The line with all its variables replaced; none if it became several lines, which come next, or has no end.
    fn replace(&mut self, mut line: Line, replaced: &mut usize) -> Result<Option<Line>, Exhausted> {
        let directory = self.open.last().map(|open| open.directory.clone()).unwrap_or_default();
        let built = Built { outside: self.outside, directory: &directory };
        let mut from = 0;
        loop {
            let used = self.variables.replace_first(&mut line, &mut from, &built);
            if used == Used::None {
                return Ok(Some(line));
            }
            *replaced += 1;
            self.spend(0, line.text.len(), line.place(0))?;
            if *replaced > self.limits.replacements || line.text.len() > self.limits.line {
                let message = "a variable in this line expands without end, or to a line that is too long";
                self.findings.error(Rule::Limit, line.place(0), message);
                return Ok(None);
            }
            if used == Used::Lines {
                if self.stack.len() >= self.limits.nesting {
                    return Err(Exhausted(line.place(0)));
                }
                self.stack.push(Item::Lines(line, 0));
                return Ok(None);
            }
        }
    }

    /// Does what a line says that is no statement.
    fn special(&mut self, line: &Line) -> Result<bool, Exhausted> {
        let place = line.place(0);
        if let Some(include) = include::include(&line.text) {
            let (directory, depth) =
                self.open.last().map(|open| (open.directory.clone(), open.depth)).unwrap_or_default();
            let files = include.files(&directory, place, self.outside, self.findings);
            if !files.is_empty() && depth >= self.limits.depth {
                let message =
                    format!("files are included {} deep here: one includes itself", self.limits.depth);
                self.findings.error(Rule::Limit, place, message);
                return Ok(true);
            }
            self.spend(1, files.iter().map(|(_, bytes)| bytes.len()).sum(), place)?;
            for (path, bytes) in files.into_iter().rev() {
                self.push_file(path, &bytes, depth + 1);
            }
            return Ok(true);
        }
        if line.text.starts_with('~') {
            let spec = self.generator_line(line);
            match generate::generator(&spec.text) {
                Some(Ok(generator)) => {
                    let end = generator.end;
                    let rest = spec.tail(end);
                    self.stack.push(Item::Each(generator, rest));
                    return Ok(true);
                }
                Some(Err(reason)) => {
                    self.findings.error(
                        Rule::Generator,
                        place,
                        format!("this cannot be generated: {reason}"),
                    );
                    return Ok(true);
                }
                None => {}
            }
        }
        if let Some((name, start)) = variables::definition(&line.text) {
            let value = line.text[start..].trim();
            self.variables.set(name, value.trim_end_matches('\\').trim_end().to_owned());
            return Ok(true);
        }
        Ok(false)
    }

    /// A generator's line with the variables between its parentheses replaced.
    fn generator_line(&mut self, line: &Line) -> Line {
        let Some(close) = line.text.find(')') else { return line.clone() };
        let (mut head, tail) = (line.head(close), line.tail(close));
        let directory = self.open.last().map(|open| open.directory.clone()).unwrap_or_default();
        let built = Built { outside: self.outside, directory: &directory };
        let mut from = 0;
        for _ in 0..self.limits.replacements {
            if head.text.len() > self.limits.line
                || self.variables.replace_first(&mut head, &mut from, &built) != Used::Replaced
            {
                break;
            }
        }
        head.push(&tail);
        head
    }

    /// The line without its condition and the white space around it; none if it is for another machine.
    fn condition(&self, line: Line) -> Option<Line> {
        let start = line.text.len() - line.text.trim_start().len();
        let text = line.text[start..].trim_end();
        let Some(condition) = text.strip_prefix('@') else {
            if start == 0 && text.len() == line.text.len() {
                return Some(line);
            }
            return Some(line.slice(start, start + text.len()));
        };
        let end = condition.find(char::is_whitespace).unwrap_or(condition.len());
        let id = self.outside.config_id();
        let holds = match condition[..end].strip_prefix('^') {
            Some(other) => other != id,
            None => condition[..end] == *id,
        };
        let rest = condition[end..].trim_start();
        let end = start + text.len();
        holds.then(|| line.slice(end - rest.len(), end))
    }

    fn spend(&mut self, steps: usize, bytes: usize, place: Place) -> Result<(), Exhausted> {
        if steps > self.limits.steps || bytes > self.limits.bytes {
            return Err(Exhausted(place));
        }
        self.limits.steps -= steps;
        self.limits.bytes -= bytes;
        Ok(())
    }
}

impl File {
    /// The next line without its comment.
    fn next(&mut self) -> Option<Line> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let end = rest.find('\n').unwrap_or(rest.len());
        let text = rest[..end].split('\0').next().unwrap_or_default();
        self.at = (self.at + end + 1).min(self.text.len());
        self.number += 1;
        Some(Line::new(self.id, self.number, without_comment(text).to_owned()))
    }

    fn define(&mut self, variables: &mut Variables) {
        if let Some((name, value)) = self.definition.take() {
            variables.set(&name, value);
        }
    }
}

/// Whether a line of a definition goes on in the next one, and its own text.
fn continued(text: &str) -> (bool, &str) {
    let text = text.trim();
    match text.strip_suffix('\\') {
        Some(text) => (true, text.trim_end()),
        None => (false, text),
    }
}

impl Built<'_> {
    /// The value of what stands between the braces, with its arguments.
    fn value(&self, name: &str) -> Option<String> {
        let mut words = name.split(' ').filter(|word| !word.is_empty());
        let value = match words.next()? {
            "_PWD" => self.directory.display().to_string(),
            "_INSTANCE" => self.outside.config_id().to_owned(),
            "_HASH" => "#".to_owned(),
            "_BANG" => "!".to_owned(),
            "_RANDOM" => {
                let numbers: Vec<u32> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
                let least = numbers.first().copied().unwrap_or(0);
                let most = numbers.get(1).copied().unwrap_or(32_767);
                self.outside.random(least, most.max(least)).to_string()
            }
            "_ENV" => self.outside.variable(words.next()?)?.lines().collect::<Vec<_>>().join(" "),
            _ => return None,
        };
        Some(value)
    }
}
