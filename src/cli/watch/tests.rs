//! What is seen and what keys do, without a terminal and without a daemon.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::keys::{Todo, done, press};
use super::state::{Mode, State};
use super::view::{Look, draw};
use crate::cli::words::short;
use crate::core::Time;
use crate::core::model::{Factor, TargetId, WhenAllDown};
use crate::core::overrides::Override;
use crate::core::pool::{Health, Standing};
use crate::core::probes::Ended;
use crate::core::status::{CheckStatus, LastProbe, ServerStatus, ServiceStatus, Status};
use crate::core::traffic::{Flow, Rate, Traffic};

const NOW: Time = Duration::from_secs(1_000_000);
const ALL: Look = Look { colours: true };

fn server(number: usize) -> ServerStatus {
    let address = format!("10.0.{}.{}:53", number / 250, number % 250 + 1).parse().unwrap();
    let check = CheckStatus {
        target: TargetId(u32::try_from(number).unwrap()),
        check: "dns".to_owned(),
        address,
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(250),
        rise: 2,
        fall: 3,
        up: Some(true),
        reason: "first answer".to_owned(),
        factor: Factor::FULL,
        last: Some(LastProbe {
            at: NOW,
            ended: Ended::Answered,
            latency: Some(Duration::from_micros(400 + 70 * number as u64)),
        }),
    };
    ServerStatus {
        address,
        configured: Some(1),
        weight: Some(1),
        due: Some(1),
        why: "first answer".to_owned(),
        fallback: false,
        verdict: Standing::Up,
        since: Some(NOW - Duration::from_secs(3_700)),
        operator: None,
        traffic: Some(traffic(4_000.0 + 10.0 * number as f64)),
        checks: vec![check],
    }
}

fn service(name: &str, vip: &str, servers: usize) -> ServiceStatus {
    ServiceStatus {
        name: name.to_owned(),
        vip: vip.parse().unwrap(),
        ops: true,
        scheduler: "wrr".to_owned(),
        forward: "nat".to_owned(),
        present: true,
        suspended: false,
        up: servers,
        minimum: 1,
        when_all_down: WhenAllDown::Keep,
        slow_start: Duration::ZERO,
        health: Health::Enough,
        quorum: None,
        drift: None,
        traffic: Some(traffic(4_000.0 * servers as f64)),
        servers: (0..servers).map(server).collect(),
    }
}

fn status(services: Vec<ServiceStatus>) -> Status {
    let read = Some(NOW - Duration::from_secs(1));
    let (failing, overrides) = (Vec::new(), Vec::new());
    Status { now: NOW, read, ready: true, failing, services, overrides, counted: Some(NOW) }
}

/// As many replies as requests.
fn traffic(packets: f64) -> Traffic {
    let rate = Some(Rate { packets, bytes: 90.0 * packets });
    let flow = Flow { packets: 1_000_000, bytes: 90_000_000, rate };
    Traffic { incoming: flow, outgoing: flow }
}

/// A service of three servers and one of two that listens on IPv6.
fn two() -> Status {
    let mut second = service("radius", "[2001:db8::53]:1812", 2);
    for (number, server) in (11..).zip(&mut second.servers) {
        server.address = format!("[2001:db8:1::{number}]:1812").parse().unwrap();
    }
    status(vec![service("dns", "192.0.2.53:53", 3), second])
}

/// The same a moment later: a server is down, another drained, a weight was changed by hand.
fn later() -> Status {
    let mut status = two();
    status.now += Duration::from_secs(2);
    status.counted = Some(status.now);
    let dns = &mut status.services[0];
    dns.up = 1;
    let down = &mut dns.servers[1];
    down.traffic = Some(traffic(0.0));
    (down.weight, down.verdict, down.since) = (Some(0), Standing::Down, Some(NOW + Duration::from_secs(1)));
    "refused (ICMP port unreachable)".clone_into(&mut down.why);
    (down.checks[0].up, down.checks[0].reason) = (Some(false), down.why.clone());
    let drained = &mut dns.servers[2];
    drained.operator = Some(Override {
        service: "dns".to_owned(),
        server: drained.address,
        weight: 0,
        by: 0,
        since: NOW,
        until: Some(NOW + Duration::from_secs(600)),
    });
    drained.weight = Some(0);
    "drained by an operator".clone_into(&mut drained.why);
    status
}

fn seen(state: &mut State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, ALL, frame)).unwrap();
    terminal.backend().to_string()
}

fn key(state: &mut State, code: KeyCode) -> Todo {
    press(state, KeyEvent::new(code, KeyModifiers::NONE))
}

/// Presses these characters, and returns what the last one left to do.
fn typed(state: &mut State, text: &str) -> Todo {
    text.chars().map(|it| key(state, KeyCode::Char(it))).last().expect("a key")
}

fn changed() -> State {
    let mut state = State::new(two());
    for packets in [1_000.0, 2_000.0, 3_000.0, 3_500.0, 4_000.0, 4_000.0] {
        let mut status = two();
        status.now += Duration::from_secs_f64(packets / 1e5);
        status.counted = Some(status.now);
        let servers = status.services.iter_mut().flat_map(|it| &mut it.servers);
        servers.for_each(|it| it.traffic = Some(traffic(packets)));
        state.told(Ok(status));
    }
    state.told(Ok(later()));
    state
}

#[test]
fn the_picture_at_80_by_24() {
    let mut state = changed();
    typed(&mut state, "jj");
    insta::assert_snapshot!(seen(&mut state, 80, 24));
}

#[test]
fn the_picture_at_60_by_16_and_at_120_by_40() {
    let mut state = changed();
    insta::assert_snapshot!("narrow", seen(&mut state, 60, 16));
    typed(&mut state, "jjj");
    insta::assert_snapshot!("wide", seen(&mut state, 120, 40));
}

#[test]
fn what_is_wrong_is_seen() {
    let mut state = changed();
    let mut status = later();
    status.failing.push("weight of 10.0.0.2:53: EPERM".to_owned());
    status.ready = false;
    (status.services[0].up, status.services[0].minimum) = (1, 2);
    status.services[0].health = Health::TooFew;
    status.services[1].present = false;
    state.told(Ok(status));
    insta::assert_snapshot!("failing", seen(&mut state, 80, 14));
    state.told(Err("nobody listens at control.sock: is ipvsd running?".to_owned()));
    state.silence = Duration::from_secs(12);
    insta::assert_snapshot!("no_answer", seen(&mut state, 80, 10));
    state.told(Ok(later()));
    assert!(!seen(&mut state, 80, 10).contains("NO ANSWER"), "it is back");
    (state.silence, state.overdue) = (Duration::from_secs(9), true);
    assert!(seen(&mut state, 80, 10).contains("NO ANSWER for 9s"), "it hangs");
}

#[test]
fn a_drain_is_confirmed_and_may_have_a_time() {
    let mut state = changed();
    assert_eq!(typed(&mut state, "jd"), Todo::Nothing);
    assert_eq!(typed(&mut state, "1x0m"), Todo::Nothing, "an x is no time");
    insta::assert_snapshot!("drain", seen(&mut state, 80, 24));
    let Todo::Ask(question) = typed(&mut state, "y") else { panic!("y does it") };
    assert_eq!(
        question.request(),
        ("/drain", json!({ "service": "dns", "server": "10.0.0.1:53", "for": "10m" }))
    );
    assert!(seen(&mut state, 80, 24).contains("the daemon was asked"));
    assert_eq!(typed(&mut state, "y"), Todo::Nothing, "once is enough");
    done(
        &mut state,
        &question,
        Err("10.0.0.1:53 is the last server with weight behind 192.0.2.53:53".to_owned()),
    );
    insta::assert_snapshot!("refused", seen(&mut state, 60, 24));
    typed(&mut state, "d");
    assert!(matches!(state.mode, Mode::List), "whatever key: it was read");
}

#[test]
fn no_key_but_y_does_anything() {
    for keys in ["dn", "d10mn", "dq", "un", "wn", "w3n", "wy"] {
        let mut state = changed();
        let todo = typed(&mut state, &format!("j{keys}"));
        assert_eq!(todo, Todo::Nothing, "{keys}");
    }
    let mut state = changed();
    typed(&mut state, "jd");
    for code in [KeyCode::Enter, KeyCode::Esc] {
        assert_eq!(key(&mut state, code), Todo::Nothing);
    }
    assert!(matches!(state.mode, Mode::List));
    // Of a service there is nothing to drain.
    typed(&mut state, "g");
    assert_eq!(typed(&mut state, "dy"), Todo::Nothing);
}

fn request(state: &mut State, keys: &str) -> (&'static str, Value) {
    match typed(state, keys) {
        Todo::Ask(question) => question.request(),
        todo => panic!("{keys}: {todo:?}"),
    }
}

#[test]
fn what_the_daemon_is_asked() {
    let mut state = changed();
    let (service, server) = ("dns", "10.0.0.1:53");
    let of = json!({ "service": service, "server": server });
    assert_eq!(request(&mut state, "jdy"), ("/drain", of.clone()));
    key(&mut state, KeyCode::Esc);
    assert_eq!(request(&mut state, "uy"), ("/undrain", of));
    key(&mut state, KeyCode::Esc);
    typed(&mut state, "w13");
    insta::assert_snapshot!("weight", seen(&mut state, 80, 24));
    key(&mut state, KeyCode::Backspace);
    key(&mut state, KeyCode::Tab);
    let weight = json!({ "service": service, "server": server, "weight": 1, "for": "1h" });
    assert_eq!(request(&mut state, "1hy"), ("/weight", weight));
}

#[test]
fn who_does_not_wait_sees_the_outcome_nevertheless() {
    let mut state = changed();
    for (said, expected) in [(Ok("drained"), "drained"), (Err("it ends"), "it ends")] {
        let Todo::Ask(question) = typed(&mut state, "jdy") else { panic!("y does it") };
        key(&mut state, KeyCode::Esc);
        done(&mut state, &question, said.map(str::to_owned).map_err(str::to_owned));
        assert!(seen(&mut state, 80, 24).lines().last().unwrap().contains(expected));
    }
}

#[test]
fn the_choice_stays_on_its_server() {
    let mut state = State::new(two());
    key(&mut state, KeyCode::End);
    let last = |state: &State| state.choice().and_then(|(_, server)| Some(server?.address.to_string()));
    assert_eq!(last(&state).as_deref(), Some("[2001:db8:1::12]:1812"));
    let mut more = two();
    more.services[0].servers.push(server(7));
    state.told(Ok(more));
    assert_eq!(last(&state).as_deref(), Some("[2001:db8:1::12]:1812"));
    let mut fewer = two();
    fewer.services.pop();
    state.told(Ok(fewer));
    assert_eq!(last(&state).as_deref(), Some("10.0.0.3:53"), "what is last now");
    state.told(Ok(status(Vec::new())));
    assert_eq!(state.choice(), None);
    assert_eq!(typed(&mut state, "jkGgdyuyw1y"), Todo::Nothing);
    assert!(seen(&mut state, 80, 24).contains("the daemon is starting"));
}

#[test]
fn a_filter_hides_the_rest() {
    let mut state = changed();
    typed(&mut state, "/down");
    insta::assert_snapshot!("filter", seen(&mut state, 80, 10));
    key(&mut state, KeyCode::Enter);
    assert_eq!(state.rows.len(), 2, "the service and its server");
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.rows.len(), 7);
    typed(&mut state, "/radius");
    assert_eq!(state.rows.len(), 3, "a service with all its servers");
    typed(&mut state, "!");
    assert!(seen(&mut state, 80, 10).contains("nothing contains \"radius!\""));
}

#[test]
fn the_help_names_every_key() {
    let mut state = changed();
    typed(&mut state, "?");
    insta::assert_snapshot!("help", seen(&mut state, 80, 24));
    assert_eq!(typed(&mut state, "q"), Todo::Nothing, "it only ends the help");
    assert_eq!(typed(&mut state, "q"), Todo::Quit);
    typed(&mut state, "jd");
    assert_eq!(press(&mut state, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Todo::Quit);
}

#[test]
fn ten_thousand_servers_scroll() {
    let mut state = State::new(status(vec![service("dns", "192.0.2.53:53", 10_000)]));
    seen(&mut state, 80, 24);
    let page = state.page;
    key(&mut state, KeyCode::PageDown);
    seen(&mut state, 80, 24);
    assert_eq!((state.chosen, state.top), (page, 1), "the chosen line is the last seen");
    key(&mut state, KeyCode::End);
    let end = seen(&mut state, 80, 24);
    assert!(end.contains("> 10.0.39.250:53") && !end.contains("10.0.0.1:53"), "{end}");
    key(&mut state, KeyCode::Home);
    assert!(seen(&mut state, 80, 24).contains(">"));
    assert_eq!((state.chosen, state.top), (0, 0));
    // All of them go down at once: the list of changes has its bound.
    let mut down = state.status.clone();
    down.services[0].servers.iter_mut().for_each(|it| it.verdict = Standing::Down);
    state.told(Ok(down));
    assert_eq!(state.changes.len(), 200);
}

#[test]
fn any_size_is_drawn() {
    for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 13), (300, 100)] {
        for keys in ["j", "jd", "jw", "?", "/"] {
            let mut state = changed();
            typed(&mut state, keys);
            assert_eq!(seen(&mut state, width, height).lines().count(), usize::from(height));
        }
    }
}

#[test]
fn without_colours_words_and_bold_remain() {
    let mut state = changed();
    let mut cells = |look| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(&mut state, look, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let coloured =
            buffer.content.iter().filter(|it| it.fg != Color::Reset || it.bg != Color::Reset).count();
        let bold = buffer.content.iter().filter(|it| it.modifier.contains(Modifier::BOLD)).count();
        (coloured > 0, bold > 0)
    };
    assert_eq!(cells(Look { colours: true }), (true, true));
    assert_eq!(cells(Look { colours: false }), (false, true));
}

#[test]
fn without_counters_there_are_no_rates() {
    let mut state = State::new(two());
    let mut status = later();
    status.counted = None;
    for service in &mut status.services {
        service.traffic = None;
        service.servers.iter_mut().for_each(|it| it.traffic = None);
    }
    state.told(Ok(status));
    insta::assert_snapshot!("no_counters", seen(&mut state, 80, 9));
}

#[test]
fn rates_are_short() {
    let numbers = [0.0, 0.25, 9.96, 999.4, 999.6, 12_345.0, 99_960.0, 999_600.0, 123_456_789.0];
    let said = ["0", "0.2", "10", "999", "1.0k", "12.3k", "100k", "1.0M", "123M"];
    assert_eq!(numbers.map(short), said);
}
