//! What an operator wants to do to a server, to be confirmed: nothing is asked of the daemon before `y`.

use std::net::SocketAddr;

use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};

/// Do it?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What.
    pub deed: Deed,
    /// The service's name.
    pub service: String,
    /// The server.
    pub server: SocketAddr,
    /// The weight as it is typed, for [`Deed::Weight`].
    pub weight: String,
    /// For how long, as it is typed; empty: until it is taken back.
    pub lasts: String,
    /// Whether `lasts` is typed now, and not `weight`.
    pub at_lasts: bool,
    /// Where it stands.
    pub stage: Stage,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Weight 0.
    Drain,
    /// As the config says.
    Undrain,
    /// Another weight.
    Weight,
}

/// Where a question stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a `y`.
    Open,
    /// The daemon was asked, and has not answered.
    Asked,
    /// The daemon does not do it; why.
    Refused(String),
}

/// What a key made of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It stands.
    Open,
    /// Not to be done, or known to be refused.
    Over,
    /// To be done.
    Yes,
}

impl Question {
    /// Asks whether to do it.
    pub fn new(deed: Deed, service: &str, server: SocketAddr) -> Self {
        let (service, at_lasts) = (service.to_owned(), deed == Deed::Drain);
        Self {
            deed,
            service,
            server,
            weight: String::new(),
            lasts: String::new(),
            at_lasts,
            stage: Stage::Open,
        }
    }

    /// Heeds a key. The letters of `y` and `n` are no units of time that can be typed: `s`, `m`, `h`, `d` are.
    pub fn key(&mut self, key: KeyCode) -> Answer {
        match (&self.stage, key) {
            (_, KeyCode::Esc) | (Stage::Open, KeyCode::Char('n' | 'N')) => return Answer::Over,
            (Stage::Refused(_), _) => return Answer::Over,
            (Stage::Asked, _) => return Answer::Open,
            (Stage::Open, KeyCode::Char('y' | 'Y'))
                if self.deed != Deed::Weight || !self.weight.is_empty() =>
            {
                self.stage = Stage::Asked;
                return Answer::Yes;
            }
            (Stage::Open, KeyCode::Tab | KeyCode::Enter | KeyCode::Up | KeyCode::Down)
                if self.deed == Deed::Weight =>
            {
                self.at_lasts = !self.at_lasts;
            }
            (Stage::Open, KeyCode::Backspace) => {
                self.field().pop();
            }
            (Stage::Open, KeyCode::Char(typed)) => self.typed(typed),
            (Stage::Open, _) => {}
        }
        Answer::Open
    }

    /// What the daemon is asked: the path and the body.
    pub fn request(&self) -> (&'static str, Value) {
        let mut body = json!({ "service": self.service, "server": self.server.to_string() });
        if !self.lasts.is_empty() {
            body["for"] = json!(self.lasts);
        }
        match self.deed {
            Deed::Drain => ("/drain", body),
            Deed::Undrain => ("/undrain", body),
            Deed::Weight => {
                // Only digits can be typed: what is no u32 is too large for the daemon, too.
                body["weight"] = json!(self.weight.parse().unwrap_or(u32::MAX));
                ("/weight", body)
            }
        }
    }

    fn field(&mut self) -> &mut String {
        if self.at_lasts { &mut self.lasts } else { &mut self.weight }
    }

    fn typed(&mut self, typed: char) {
        let fits = match (self.deed, self.at_lasts) {
            (Deed::Undrain, _) => false,
            (_, true) => typed.is_ascii_digit() || "smhd".contains(typed),
            (_, false) => typed.is_ascii_digit(),
        };
        if fits && self.field().len() < 12 {
            self.field().push(typed);
        }
    }
}
