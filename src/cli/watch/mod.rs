//! `ipvsd watch`: `status` live on a terminal, with keys to act. The terminal and the loop; what is shown is in `view`.
//!
//! ```text
//! thread keys ──┐
//! task ask ─────┼─ Message ─> loop: State ─> draw
//! task act ─────┤               └─ starts `act` after a `y`
//! signals ──────┘
//! ```

mod changes;
mod keys;
mod list;
mod question;
mod series;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::keys::{Todo, done, press};
use self::question::{Deed, Question};
use self::state::State;
use self::view::{Look, draw};
use super::ask;
use super::words::span;
use crate::admin::client::{Answer, tell};
use crate::admin::{Access, client};
use crate::core::overrides::Override;
use crate::core::status::Status;

/// From one answer to the next question.
const PAUSE: Duration = Duration::from_secs(1);

pub fn main(service: Option<&str>) -> ExitCode {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        eprintln!("ipvsd: watch needs a terminal; `ipvsd status` says the same once, `--json` as data");
        return ExitCode::from(super::FAILED);
    }
    let target = ask::target("/status", &[("service", service)]);
    // What is wrong at once (no daemon, no such service, no right to ask) is said as by every other command.
    let status: Status = match ask::told(&target) {
        Ok((status, _)) => status,
        Err(status) => return status,
    };
    let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    // From here on a panic restores the terminal, too.
    let shown = ratatui::try_init().and_then(|mut terminal| {
        runtime.block_on(run(&mut terminal, State::new(status), target, Look { colours }))
    });
    ratatui::restore();
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ipvsd: cannot use the terminal: {error}");
            ExitCode::from(super::FAILED)
        }
    }
}

/// What the loop waits for.
enum Message {
    /// A key, or another size.
    Event(io::Result<Event>),
    /// How everything stands, or why that is not known.
    Told(Result<Status, String>),
    /// What became of what the daemon was asked to do.
    Done(Question, Result<String, String>),
    /// To end.
    End,
}

async fn run(terminal: &mut DefaultTerminal, mut state: State, target: String, look: Look) -> io::Result<()> {
    let (sender, mut messages) = unbounded_channel();
    start(&sender, target)?;
    let mut heard = Instant::now();
    let mut clock = tokio::time::interval(PAUSE);
    loop {
        terminal.draw(|frame| draw(&mut state, look, frame))?;
        let message = tokio::select! {
            message = next(&mut messages) => message,
            _ = clock.tick() => {
                state.silence = heard.elapsed();
                continue;
            }
        };
        match message {
            Message::Event(event) => match event? {
                Event::Key(key) if key.is_press() => match press(&mut state, key) {
                    Todo::Nothing => {}
                    Todo::Ask(question) => {
                        let sender = sender.clone();
                        tokio::spawn(async move {
                            let done = act(&question).await;
                            let _ = sender.send(Message::Done(question, done));
                        });
                    }
                    Todo::Quit => return Ok(()),
                },
                _ => {}
            },
            Message::Told(told) => {
                if told.is_ok() {
                    heard = Instant::now();
                }
                state.told(told);
            }
            Message::Done(question, result) => done(&mut state, &question, result),
            Message::End => return Ok(()),
        }
    }
}

async fn next(messages: &mut UnboundedReceiver<Message>) -> Message {
    // The loop itself has a sender, so that there is always one.
    messages.recv().await.unwrap_or(Message::End)
}

/// Starts all that sends messages.
fn start(sender: &UnboundedSender<Message>, target: String) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let (mut signals, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            signals.recv().await;
            let _ = sender.send(Message::End);
        });
    }
    let keys = sender.clone();
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let last = event.is_err();
            if keys.send(Message::Event(event)).is_err() || last {
                return;
            }
        }
    });
    let sender = sender.clone();
    tokio::spawn(async move {
        loop {
            let began = Instant::now();
            let told = tell(&target).await.map_err(|error| error.to_string()).and_then(said);
            // A daemon with much to say is not kept busy with it.
            let pause = PAUSE.max(4 * began.elapsed());
            if sender.send(Message::Told(told)).is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    Ok(())
}

/// What an answer says, or why it is none.
fn said(answer: Answer) -> Result<Status, String> {
    match answer.status {
        StatusCode::OK => serde_json::from_value(answer.said)
            .map_err(|error| format!("the daemon is of another version: {error}")),
        _ => Err(answer.text().trim_end().to_owned()),
    }
}

/// Lets the daemon do it: what it did, or why it does not.
async fn act(question: &Question) -> Result<String, String> {
    let (path, body) = question.request();
    let answer = client::act(&Access::Control.socket(), path, Some(&body)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(answer.text().trim_end().to_owned());
    }
    let it: Override = serde_json::from_value(answer.said["override"].clone())
        .map_err(|error| format!("the daemon is of another version: {error}"))?;
    let of = format!("{} {}", it.service, it.server);
    let lasts = it.until.map(|until| format!(" for {}", span(until.saturating_sub(it.since))));
    let lasts = lasts.unwrap_or_default();
    Ok(match (question.deed, it.weight) {
        (Deed::Undrain, _) => format!("{of}: as the config says"),
        (_, 0) => format!("{of}: drained{lasts}"),
        (_, weight) => format!("{of}: weight {weight}{lasts}"),
    })
}
