//! What is wrong with a config: every problem with its place, for people (source line and caret) and as data.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

use super::masked::masked;

/// Of a longer line only what stands at the place is shown, for the renderer looks through the whole line each time.
const LONG: usize = 1_000;
/// So many bytes of it.
const SHOWN: usize = 60;

/// Everything there is to say about a config, in its order.
#[derive(Clone, Debug)]
pub struct Report {
    sources: Sources,
    problems: Vec<Problem>,
}

/// The files of a config: most have one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Each file's name, and the byte of `text` that it begins at.
    files: Vec<(String, usize)>,
    /// The files' texts one after the other, secrets masked.
    text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The config is refused.
    Error,
    /// The config is valid; the operator should know.
    Warning,
}

/// One problem as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The file as it was named to [`crate::config::parse`].
    pub file: &'a str,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: &'a str,
    /// What to do.
    pub help: Option<&'a str>,
}

/// A range of bytes in the texts of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// One problem and where it is.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    severity: Severity,
    pub(super) place: Place,
    message: String,
    label: Option<String>,
    related: Option<(Place, String)>,
    help: Option<String>,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Adds an error.
    pub fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Error, place, message.into())
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Warning, place, message.into())
    }

    /// Moves all of them into other texts.
    pub fn move_to(&mut self, place: impl Fn(Place) -> Place) {
        for problem in &mut self.0 {
            problem.place = place(problem.place);
            if let Some((related, _)) = &mut problem.related {
                *related = place(*related);
            }
        }
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, place: Place, message: String) -> &mut Problem {
        let index = self.0.len();
        self.0.push(Problem {
            severity,
            place,
            message: one_line(message),
            label: None,
            related: None,
            help: None,
        });
        &mut self.0[index]
    }
}

impl Problem {
    /// Says something right at the place.
    pub fn label(&mut self, text: impl Into<String>) -> &mut Self {
        self.label = Some(one_line(text.into()));
        self
    }

    /// Points at a second place.
    pub fn related(&mut self, place: Place, text: impl Into<String>) -> &mut Self {
        self.related = Some((place, one_line(text.into())));
        self
    }

    /// Says what to do.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(one_line(text.into()));
        self
    }
}

impl Report {
    pub(super) fn new(file: &str, text: &str, problems: Problems) -> Self {
        let mut sources = Sources::default();
        sources.add(file, text);
        Self::of(sources, problems)
    }

    pub(super) fn of(sources: Sources, problems: Problems) -> Self {
        let mut problems = problems.0;
        problems.sort_by_key(|problem| problem.place);
        Self { sources, problems }
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems as text: source line, caret, label and help; in colour if `colour`.
    ///
    /// Ends in a line end unless the report is empty.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let lines = self.sources.lines();
        let mut out = String::new();
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.push_str(&renderer.render(&[problem.group(&lines)]));
            out.push('\n');
        }
        out
    }

    /// All problems as data.
    pub fn problems(&self) -> impl Iterator<Item = Located<'_>> {
        let lines = self.sources.lines();
        self.problems.iter().map(move |problem| {
            let line = lines.of(problem.place.start);
            let (file, number) = lines.called(line);
            Located {
                severity: problem.severity,
                file,
                line: number,
                column: lines.column(line, problem.place.start) + 1,
                message: &problem.message,
                help: problem.help.as_deref(),
            }
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

impl Problem {
    fn group<'a>(&'a self, lines: &Lines<'a>) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut parts = vec![(self.place, AnnotationKind::Primary, self.label.as_deref())];
        if let Some((place, text)) = &self.related {
            parts.push((*place, AnnotationKind::Context, Some(text.as_str())));
        }
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        // Only the lines concerned are handed over: the renderer would look through the whole file for each problem.
        for part in parts.chunk_by(|a, b| lines.of(a.0.start) == lines.of(b.0.start) && lines.is_short(a.0)) {
            let number = lines.of(part[0].0.start);
            let (text, start) = lines.text(number);
            let (file, line) = lines.called(number);
            if let [(place, _, label)] = part
                && !lines.is_short(*place)
            {
                let column = lines.column(number, place.start) + 1;
                let label = label.unwrap_or("here");
                let text = normalize_untrusted_str(beginning(&text[(place.start - start).min(text.len())..]));
                group = group
                    .element(Origin::path(file).line(line).char_column(column))
                    .element(Level::NOTE.with_name(label).message(text));
                continue;
            }
            let annotations = part.iter().map(|(place, kind, label)| {
                let from = place.start.clamp(start, start + text.len()) - start;
                let to = place.end.clamp(start + from, start + text.len()) - start;
                let annotation = kind.span(text.floor_char_boundary(from)..text.ceil_char_boundary(to));
                match label {
                    Some(label) => annotation.label(normalize_untrusted_str(label)),
                    None => annotation,
                }
            });
            let snippet = Snippet::source(text).line_start(line).path(file).fold(false);
            group = group.element(snippet.annotations(annotations));
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
            None => group,
        }
    }
}

/// So much of a text as is shown where its line is too long.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

impl Sources {
    /// Adds a file, and gives the byte that it begins at.
    pub fn add(&mut self, file: &str, text: &str) -> usize {
        // No line has parts of two files.
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let start = self.text.len();
        self.files.push((file.to_owned(), start));
        self.text.push_str(&masked(text));
        start
    }

    fn lines(&self) -> Lines<'_> {
        let mut lines = Lines::new(&self.text);
        let first = |start: &usize| lines.starts.partition_point(|at| at < start);
        lines.files = self.files.iter().map(|(name, start)| (name.as_str(), first(start))).collect();
        lines
    }
}

/// The lines of all texts, counted from 0.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// Each file's name and first line.
    files: Vec<(&'a str, usize)>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts, files: Vec::new() }
    }

    /// The file of a line, and the line's number in it, from 1.
    pub fn called(&self, line: usize) -> (&'a str, usize) {
        let file = self.files.iter().rev().find(|(_, first)| *first <= line);
        file.map_or(("", line + 1), |(name, first)| (*name, line - first + 1))
    }

    /// The line of a byte. The end of the text counts to its last line, not to the nothing after a final line end.
    pub fn of(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len().saturating_sub(1));
        self.starts.partition_point(|start| *start <= byte) - 1
    }

    /// How many lines there are; at least one.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// A line without its end, and the byte it starts at.
    pub fn text(&self, line: usize) -> (&'a str, usize) {
        let start = self.starts[line];
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let text = &self.text[start..end];
        (text.strip_suffix('\r').unwrap_or(text), start)
    }

    /// Whether the line of a place can be shown whole.
    fn is_short(&self, place: Place) -> bool {
        self.text(self.of(place.start)).0.len() <= LONG
    }

    /// How many characters of the line lie before a byte.
    fn column(&self, line: usize, byte: usize) -> usize {
        let (text, start) = self.text(line);
        text[..text.ceil_char_boundary(byte.saturating_sub(start).min(text.len()))].chars().count()
    }
}

/// Names and values from the file come with whatever characters they hold: none may break a line of the log.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
