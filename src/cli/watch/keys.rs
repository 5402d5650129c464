//! What each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::question::{Answer, Deed, Question};
use super::state::{Mode, State};

/// What is left to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// To ask the daemon for it.
    Ask(Question),
    /// To end.
    Quit,
}

/// The keys of the list, for the help.
pub const KEYS: [(&str, &str); 10] = [
    ("↑ ↓  k j", "another line"),
    ("PgUp PgDn", "a page further"),
    ("Home End  g G", "the first line, the last"),
    ("/", "only what contains a text; servers that are up, down, …"),
    ("Esc", "all lines again"),
    ("d", "drain the server: weight 0"),
    ("w", "give the server another weight"),
    ("u", "take back d or w: as the config says"),
    ("?", "this"),
    ("q  Ctrl-C", "quit"),
];

/// Does what the key says.
pub fn press(state: &mut State, key: KeyEvent) -> Todo {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Todo::Quit } else { Todo::Nothing };
    }
    match &mut state.mode {
        Mode::List => return in_list(state, key.code),
        Mode::Help => state.mode = Mode::List,
        Mode::Filter => in_filter(state, key.code),
        Mode::Question(question) => match question.key(key.code) {
            Answer::Open => {}
            Answer::Over => state.mode = Mode::List,
            Answer::Yes => return Todo::Ask(question.clone()),
        },
    }
    Todo::Nothing
}

/// Takes what became of a question that the daemon was asked: what it did, or why it does not.
pub fn done(state: &mut State, asked: &Question, done: Result<String, String>) {
    let shown = match &mut state.mode {
        Mode::Question(question) if question == asked => Some(question),
        _ => None,
    };
    match (done, shown) {
        (Ok(did), shown) => {
            if shown.is_some() {
                state.mode = Mode::List;
            }
            state.outcome = Some((did, false));
        }
        (Err(why), Some(question)) => question.stage = super::question::Stage::Refused(why),
        // Whoever did not wait for the answer sees it nevertheless.
        (Err(why), None) => state.outcome = Some((why, true)),
    }
}

fn in_list(state: &mut State, key: KeyCode) -> Todo {
    let page = state.page.max(1).cast_signed();
    state.outcome = None;
    match key {
        KeyCode::Char('q') => return Todo::Quit,
        KeyCode::Char('?') => state.mode = Mode::Help,
        KeyCode::Char('/') => state.mode = Mode::Filter,
        KeyCode::Esc => state.filter(String::new()),
        KeyCode::Up | KeyCode::Char('k') => state.go(-1),
        KeyCode::Down | KeyCode::Char('j') => state.go(1),
        KeyCode::PageUp => state.go(-page),
        KeyCode::PageDown => state.go(page),
        KeyCode::Home | KeyCode::Char('g') => state.go(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => state.go(isize::MAX),
        KeyCode::Char('d') => ask(state, Deed::Drain),
        KeyCode::Char('u') => ask(state, Deed::Undrain),
        KeyCode::Char('w') => ask(state, Deed::Weight),
        _ => {}
    }
    Todo::Nothing
}

fn ask(state: &mut State, deed: Deed) {
    match state.choice() {
        Some((service, Some(server))) => {
            state.mode = Mode::Question(Question::new(deed, &service.name, server.address));
        }
        _ => state.outcome = Some(("that is done to one server: choose its line".to_owned(), true)),
    }
}

fn in_filter(state: &mut State, key: KeyCode) {
    let mut filter = state.filter.clone();
    match key {
        KeyCode::Enter => state.mode = Mode::List,
        KeyCode::Esc => {
            state.mode = Mode::List;
            state.filter(String::new());
        }
        KeyCode::Backspace => {
            filter.pop();
            state.filter(filter);
        }
        KeyCode::Char(typed) => {
            filter.push(typed);
            state.filter(filter);
        }
        KeyCode::Up => state.go(-1),
        KeyCode::Down => state.go(1),
        _ => {}
    }
}
