//! The history for people: what happened to a service or a server, in the very words of the log.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Metadata, Subscriber, dispatcher};

use super::log;
use crate::core::Time;
use crate::core::event::Event;
use crate::core::history::{Decision, Entry, Given, Note, Start, What};

/// What notes are to be about. Those that name no service, or no server, are about all of them.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The service's name; none: all of them.
    pub service: Option<String>,
    /// The server; none: all of them.
    pub server: Option<SocketAddr>,
}

impl About {
    fn is(&self, note: &Note) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, has: &Option<T>) -> bool {
            wanted.is_none() || has.is_none() || wanted == has
        }
        same(&self.service, &note.service) && same(&self.server, &note.server)
    }
}

/// The last notes in the lines of a history, at most `most` of them, the newest last. Damaged lines are left out.
pub fn notes(lines: impl IntoIterator<Item = Vec<u8>>, about: &About, most: usize) -> Vec<Note> {
    let words = Arc::new(Words::default());
    let mut notes = VecDeque::new();
    // It words the events of this thread only.
    dispatcher::with_default(
        &Dispatch::from(Arc::clone(&words) as Arc<dyn Subscriber + Send + Sync>),
        || {
            for line in lines {
                let Ok(Entry { at, what, .. }) = Entry::parse(&line) else { continue };
                let told = match what {
                    What::Start(start) => vec![begun(at, &start)],
                    What::Input { given, decided } => {
                        let events = decided.iter().filter_map(|decision| match decision {
                            Decision::Say(event) => words.of(at, event),
                            _ => None,
                        });
                        asked(at, &given).into_iter().chain(events).collect()
                    }
                    What::Quiet(_) => continue,
                };
                notes.extend(told.into_iter().filter(|note| about.is(note)));
                notes.drain(..notes.len().saturating_sub(most));
            }
        },
    );
    notes.into()
}

fn begun(at: Time, start: &Start) -> Note {
    note(at, format!("ipvsd {} started on Linux {}", start.version, start.kernel))
}

/// What somebody asked the daemon for, where no event says so.
fn asked(at: Time, given: &Given) -> Option<Note> {
    match given {
        Given::Config(change) => {
            let services = change.first + change.services.len() + change.last;
            Some(note(at, format!("config read services={services}")))
        }
        Given::Stop | Given::Remove => Some(note(at, "ipvsd is told to end".to_owned())),
        _ => None,
    }
}

fn note(at: Time, what: String) -> Note {
    Note { at, service: None, vip: None, server: None, what, by: None }
}

/// Takes down what the log would say.
#[derive(Default)]
struct Words(Mutex<Option<Note>>);

impl Words {
    fn of(&self, at: Time, event: &Event) -> Option<Note> {
        log::say(event);
        let note = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        note.map(|note| Note { at, ..note })
    }
}

impl Subscriber for Words {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields { note: note(Time::ZERO, String::new()) };
        event.record(&mut fields);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fields.note);
    }

    // The log has no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of a line of the log. The message comes first, as tracing has it.
struct Fields {
    note: Note,
}

impl Fields {
    /// A field that has its own place in a note, or none with this value.
    fn place(&mut self, name: &str, value: &str) -> bool {
        let Note { service, vip, server, by, .. } = &mut self.note;
        match name {
            "service" => *service = Some(value.to_owned()),
            "vip" => *vip = Some(value.to_owned()),
            "server" if value.parse::<SocketAddr>().is_ok() => *server = value.parse().ok(),
            "by" => *by = value.parse().ok(),
            _ => return false,
        }
        true
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.place(field.name(), value) {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = Shown(value).to_string();
        let what = &mut self.note.what;
        // A String takes everything.
        let _ = match field.name() {
            "message" => write!(what, "{text}"),
            name if self.place(name, &text) => Ok(()),
            name => write!(self.note.what, " {name}={text}"),
        };
    }
}

struct Shown<'a>(&'a dyn Debug);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipvs_netlink::{DestinationConfig, DestinationKey, Forward, ServiceKey};
    use proptest::prelude::*;

    use super::*;
    use crate::core::drift::Thing;
    use crate::core::event::Before;
    use crate::core::overrides::Override;
    use crate::core::plan::{Action, Step};

    fn line(at: u64, event: Event) -> Vec<u8> {
        let what = What::Input { given: Given::Wake, decided: vec![Decision::Say(event)] };
        serde_json::to_vec(&Entry { number: at, at: Duration::from_micros(at), what }).unwrap()
    }

    fn key() -> ServiceKey {
        ServiceKey::udp("192.0.2.53:53".parse().unwrap())
    }

    fn server(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, number], 53))
    }

    fn weight(at: u64, service: &str, number: u8, new: u32) -> Vec<u8> {
        let of = |weight| DestinationConfig {
            weight,
            forward: Forward::Masquerade,
            upper_threshold: 0,
            lower_threshold: 0,
        };
        let action = Action::SetServer(DestinationKey(server(number)), of(new));
        line(
            at,
            Event::Done {
                service: Some(service.to_owned()),
                key: key(),
                step: Step { action, why: "silent, 3 in a row".to_owned() },
                before: Before::Server(of(7)),
            },
        )
    }

    #[test]
    fn a_note_is_worded_as_the_log_is() {
        let it = Override {
            service: "dns".to_owned(),
            server: server(11),
            weight: 0,
            by: 1000,
            since: Duration::ZERO,
            until: Some(Duration::from_secs(600)),
        };
        let drift = Event::Drift {
            service: Some("dns".to_owned()),
            key: key(),
            thing: Thing::Service,
            what: "the service is gone".to_owned(),
            ruling: None,
        };
        let lines = [weight(5, "dns", 11, 0), line(6, Event::Overridden(it)), line(7, drift)];
        let all = notes(lines, &About::default(), 10);
        let of_server = Note {
            at: Duration::from_micros(5),
            service: Some("dns".to_owned()),
            vip: Some("UDP 192.0.2.53:53".to_owned()),
            server: Some(server(11)),
            what: "weight changed weight=7 → 0 why=\"silent, 3 in a row\"".to_owned(),
            by: None,
        };
        let by_hand = Note {
            at: Duration::from_micros(6),
            vip: None,
            what: "weight set by an operator weight=0 lasts=\"10m\"".to_owned(),
            by: Some(1000),
            ..of_server.clone()
        };
        let drifted = Note {
            at: Duration::from_micros(7),
            server: None,
            what: "drift, only reported server=\"the service itself\" what=\"the service is gone\""
                .to_owned(),
            ..of_server.clone()
        };
        assert_eq!(all, [of_server, by_hand, drifted]);
    }

    #[test]
    fn notes_are_about_what_was_asked_for_and_the_newest_ones() {
        let start = Start { version: "1.2".to_owned(), kernel: "6.1".to_owned(), ..Start::default() };
        let start = Entry { number: 0, at: Duration::ZERO, what: What::Start(start) };
        let mut lines = vec![serde_json::to_vec(&start).unwrap(), b"{\"number\":1,\"at\":".to_vec()];
        for at in 1..=9 {
            lines.push(weight(at, ["dns", "ntp"][usize::from(at % 2 == 0)], (at % 3) as u8, 1));
        }
        let of = |service: Option<&str>, number: Option<u8>, most| {
            let about = About { service: service.map(str::to_owned), server: number.map(server) };
            let notes = notes(lines.clone(), &about, most);
            notes.iter().map(|note| note.at.as_micros()).collect::<Vec<_>>()
        };
        assert_eq!(of(None, None, 100), (0..=9).collect::<Vec<_>>());
        assert_eq!(of(Some("dns"), None, 100), [0, 1, 3, 5, 7, 9]);
        assert_eq!(of(Some("dns"), Some(0), 100), [0, 3, 9]);
        assert_eq!(of(Some("dns"), None, 2), [7, 9]);
        assert_eq!(of(None, None, 0), [0; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_notes_or_left_out(
            at in any::<prop::sample::Index>(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut line = weight(5, "dns", 11, 0);
            let place = at.index(line.len());
            line.splice(place..(place + bytes.len()).min(line.len()), bytes.iter().copied());
            prop_assert!(notes([line, bytes], &About::default(), 10).len() <= 1);
        }
    }
}
