//! What is said about a translation: for each keyword that is not simply taken, and for what the file leaves unsaid.

use std::path::Path;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::super::keywords::{Block, Keyword, Verdict};
use super::super::place::{self, Place, Sources};

/// One thing to say. What is to be said of several places is said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What becomes of the keyword here; never [`Verdict::Taken`].
    pub verdict: Verdict,
    /// Where it is to be said, in the order of the places; at least one.
    pub places: Vec<Place>,
    /// The keyword, or the one that the file does not have.
    pub keyword: &'static str,
    /// What differs and why, or what to do.
    pub said: String,
}

/// A note as data.
#[derive(Serialize)]
struct Told<'a> {
    verdict: Verdict,
    keyword: &'static str,
    said: &'a str,
    places: Vec<At<'a>>,
}

#[derive(Serialize)]
struct At<'a> {
    file: &'a Path,
    line: u32,
    column: u32,
}

/// The notes so far.
#[derive(Debug, Default)]
pub struct Notes {
    all: Vec<Note>,
    said: FxHashMap<(&'static str, String), usize>,
}

impl Notes {
    /// One for each keyword that the table has something to say about.
    pub fn of(keywords: &[place::At<&'static Keyword>]) -> Self {
        let mut notes = Self::default();
        for place::At { value, place } in keywords {
            // What stands in a check that is refused is refused with it.
            let within = matches!(value.block, Block::SmtpCheck | Block::BfdCheck);
            if value.verdict != Verdict::Taken && !(within && value.verdict == Verdict::Refused) {
                notes.add(value.verdict, *place, value.name, value.reason);
            }
        }
        notes
    }

    /// It is taken, and this differs.
    pub fn noted(&mut self, place: Place, keyword: &'static str, said: impl Into<String>) {
        self.add(Verdict::Noted, place, keyword, said);
    }

    /// It cannot be taken.
    pub fn refused(&mut self, place: Place, keyword: &'static str, said: impl Into<String>) {
        self.add(Verdict::Refused, place, keyword, said);
    }

    fn add(&mut self, verdict: Verdict, place: Place, keyword: &'static str, said: impl Into<String>) {
        let said = said.into();
        let index = *self.said.entry((keyword, said.clone())).or_insert_with(|| {
            self.all.push(Note { verdict, places: Vec::new(), keyword, said });
            self.all.len() - 1
        });
        self.all[index].places.push(place);
    }

    /// All of them, by place.
    pub fn sorted(mut self) -> Vec<Note> {
        self.all.iter_mut().for_each(|note| note.places.sort_unstable());
        self.all.sort_by_key(|note| note.places[0]);
        self.all
    }
}

impl Note {
    /// As a line for people.
    pub fn line(&self, sources: &Sources) -> String {
        let Place { file, line, column } = self.places[0];
        let path = sources.path(file).display();
        let verdict = match self.verdict {
            Verdict::Taken => "taken",
            Verdict::Noted => "note",
            Verdict::NotNeeded => "not needed",
            Verdict::LeftToKeepalived => "left to keepalived",
            Verdict::Refused => "refused",
        };
        let places = match self.places.len() {
            1 => String::new(),
            places => format!(" (at {places} places)"),
        };
        format!("{path}:{line}:{column}: {verdict}: `{}`: {}{places}", self.keyword, self.said)
    }

    /// As data.
    pub fn told(&self, sources: &Sources) -> serde_json::Value {
        let at =
            |place: &Place| At { file: sources.path(place.file), line: place.line, column: place.column };
        serde_json::json!(Told {
            verdict: self.verdict,
            keyword: self.keyword,
            said: &self.said,
            places: self.places.iter().map(at).collect(),
        })
    }
}
