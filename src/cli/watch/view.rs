//! The picture: a pure function of the state.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Widget, Wrap};

use super::changes::operator;
use super::keys::KEYS;
use super::list::{self, place};
use super::question::{Deed, Question, Stage};
use super::state::{Mode, State};
use crate::cli::explain::{asked, policy};
use crate::cli::status::{BAD, BOLD, GOOD, WARN, drift, why};
use crate::cli::words::short;
use crate::cli::words::span;
use crate::core::Time;
use crate::core::pool::Standing;
use crate::core::traffic::{Flow, Traffic};

/// How styles are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// With colours; otherwise bold and reversed remain.
    pub colours: bool,
}

impl Look {
    /// The style of `status`, as the terminal is to have it.
    pub fn style(self, style: anstyle::Style) -> Style {
        let style = Style::from(style);
        if self.colours { style } else { Style { fg: None, bg: None, ..style } }
    }
}

/// Draws everything.
pub fn draw(state: &mut State, look: Look, frame: &mut Frame) {
    let (area, buffer) = (frame.area(), frame.buffer_mut());
    let (detail, changes) = match area.height {
        0..14 => (0, 0),
        14..20 => (0, 4),
        20..30 => (4, 6),
        height => (6, height / 4),
    };
    let failing = u16::try_from(state.status.failing.len().min(2)).unwrap_or(2);
    let heights = [1, failing].map(Constraint::Length).into_iter().chain([Constraint::Min(2)]);
    let heights = heights.chain([detail, changes, 1].map(Constraint::Length));
    let [head, failed, main, detail, changes, foot] = Layout::vertical(heights).areas(area);
    draw_head(state, look, head, buffer);
    for (row, failing) in failed.rows().zip(&state.status.failing) {
        put(buffer, row, &format!("failing  {failing}"), look.style(BAD));
    }
    list::draw(state, look, main, buffer);
    draw_detail(state, detail, buffer);
    draw_changes(state, changes, buffer);
    draw_foot(state, look, foot, buffer);
    match &state.mode {
        Mode::Help => draw_help(area, buffer),
        Mode::Question(question) => draw_question(question, look, area, buffer),
        Mode::List | Mode::Filter => {}
    }
}

fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    if !area.is_empty() {
        buffer.set_stringn(area.x, area.y, place(text, area.width, false), area.width.into(), style);
    }
}

/// How all of it stands; or that this may no longer be so.
fn draw_head(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    if let Some(why) = state.stale() {
        let text = format!("NO ANSWER for {}: {why}", span(state.silence));
        let style = look.style(BAD).add_modifier(Modifier::REVERSED);
        buffer.set_style(area, style);
        return put(buffer, area, &text, style);
    }
    let status = &state.status;
    let servers = || status.services.iter().flat_map(|it| &it.servers);
    let are = |standing| servers().filter(|it| it.verdict == standing && it.configured.is_some()).count();
    let drained = servers().filter(|it| it.operator.as_ref().is_some_and(|it| it.weight == 0)).count();
    let read = match status.read {
        Some(read) => format!("kernel read {} ago", span(status.now.saturating_sub(read))),
        None => "kernel not read yet".to_owned(),
    };
    let mut said = vec![("ipvsd".to_owned(), BOLD), (format!("{} up", are(Standing::Up)), GOOD)];
    let others = [
        (are(Standing::Down), "down", BAD),
        (are(Standing::Unknown), "unknown", WARN),
        (are(Standing::Unchecked), "unchecked", anstyle::Style::new()),
        (drained, "drained", WARN),
    ];
    let others = others.into_iter().filter(|(count, ..)| *count > 0);
    said.extend(others.map(|(count, what, style)| (format!("{count} {what}"), style)));
    said.push((read, anstyle::Style::new()));
    if !status.ready {
        said.push(("not ready".to_owned(), WARN));
    }
    let spans =
        said.into_iter().flat_map(|(text, style)| [Span::styled(text, look.style(style)), "  ".into()]);
    Line::from_iter(spans).render(area, buffer);
}

/// A line that begins a part.
fn draw_title(title: &str, area: Rect, buffer: &mut Buffer) {
    let rule = "─".repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, rule, area.width.into(), Style::new().add_modifier(Modifier::DIM));
    put(
        buffer,
        Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area },
        &format!(" {title} "),
        Style::new(),
    );
}

/// What is known of the chosen line.
fn draw_detail(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let now = state.status.now;
    let (title, lines) = match state.choice() {
        None => ("nothing is chosen".to_owned(), Vec::new()),
        Some((service, None)) => {
            let mut lines = vec![policy(service)];
            lines.extend(service.traffic.map(|it| traffic(&it, state.status.counted, now)));
            lines.extend(
                service
                    .drift
                    .as_ref()
                    .map(|it| format!("drift {} ago of {}", span(now.saturating_sub(it.at)), drift(it))),
            );
            (format!("{} at {}", service.name, service.vip), lines)
        }
        Some((service, Some(server))) => {
            let mut lines = vec![why(server, now)];
            lines.extend(
                server
                    .operator
                    .as_ref()
                    .map(|it| format!("{}, {} ago", operator(it), span(now.saturating_sub(it.since)))),
            );
            lines.extend(server.checks.iter().map(|check| asked(check, now)));
            lines.extend(server.traffic.map(|it| traffic(&it, state.status.counted, now)));
            (format!("{} of {}", server.address, service.name), lines)
        }
    };
    draw_title(&title, area, buffer);
    for (row, line) in area.rows().skip(1).zip(lines) {
        put(buffer, row, &line, Style::new());
    }
}

/// What goes through, in full.
fn traffic(it: &Traffic, counted: Option<Time>, now: Time) -> String {
    let said = |flow: Flow| match flow.rate {
        Some(rate) => format!("{} packets/s, {} bytes/s", short(rate.packets), short(rate.bytes)),
        None => format!("{} packets, {} bytes so far", flow.packets, flow.bytes),
    };
    let age = counted.map(|at| format!("; counted {} ago", span(now.saturating_sub(at)))).unwrap_or_default();
    format!("in {}; out {}{age}", said(it.incoming), said(it.outgoing))
}

/// The newest changes.
fn draw_changes(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    draw_title("changes", area, buffer);
    for (row, it) in area.rows().skip(1).zip(&state.changes) {
        let ago = span(state.status.now.saturating_sub(it.at));
        let of = it.server.map(|server| format!(" {server}")).unwrap_or_default();
        put(buffer, row, &format!("{ago:>7} ago  {}{of}  {}", it.service, it.what), Style::new());
    }
    if let (Some(row), true) = (area.rows().nth(1), state.changes.is_empty()) {
        put(buffer, row, "none since this began", Style::new().add_modifier(Modifier::DIM));
    }
}

/// What keys do, what became of the last one, or the filter.
fn draw_foot(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let (text, style) = match (&state.mode, &state.outcome) {
        (Mode::Filter, _) => (format!("/{}_   Enter keeps it, Esc shows all", state.filter), Style::new()),
        (_, Some((what, failed))) => (what.clone(), look.style(if *failed { BAD } else { GOOD })),
        _ => {
            let mut text = "q quit  ? help  / filter  d drain  u undrain  w weight".to_owned();
            if !state.filter.is_empty() {
                text = format!("/{}  Esc all  {text}", state.filter);
            }
            (text, Style::new().add_modifier(Modifier::DIM))
        }
    };
    put(buffer, area, &text, style);
}

/// A box in the middle, at least as high as its text.
fn draw_box(title: &str, lines: Vec<Line>, area: Rect, buffer: &mut Buffer) {
    let room = area.width.saturating_sub(6);
    let wanted = lines.iter().map(Line::width).chain([title.chars().count()]).max().unwrap_or(0);
    let width = u16::try_from(wanted).unwrap_or(u16::MAX).min(room).max(1);
    // As words are not cut, a line that does not fit may take one row more than its length says.
    let rows = |line: &Line| match line.width() {
        length if length <= width.into() => 1,
        length => length.div_ceil(width.into()) + 1,
    };
    let height = u16::try_from(lines.iter().map(rows).sum::<usize>()).unwrap_or(u16::MAX);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let area = area.centered(Constraint::Length(width + 4), Constraint::Length(height.saturating_add(2)));
    Clear.render(area, buffer);
    let block =
        Block::bordered().title(format!(" {title} ")).padding(ratatui::widgets::Padding::horizontal(1));
    text.block(block).render(area, buffer);
}

fn draw_help(area: Rect, buffer: &mut Buffer) {
    let lines = KEYS.iter().map(|(keys, what)| Line::from(format!("{keys:<14}  {what}")));
    draw_box("keys", lines.collect(), area, buffer);
}

fn draw_question(it: &Question, look: Look, area: Rect, buffer: &mut Buffer) {
    let (server, service) = (it.server, &it.service);
    let title = match it.deed {
        Deed::Drain => format!("drain {server} of {service}?"),
        Deed::Undrain => format!("{server} of {service}: as the config says?"),
        Deed::Weight => format!("another weight for {server} of {service}?"),
    };
    let field = |name: &str, typed: &str, here: bool, empty: &str| {
        let cursor = if here && it.stage == Stage::Open { "_" } else { "" };
        let hint = if typed.is_empty() { format!("   {empty}") } else { String::new() };
        Line::from(format!("{name:<8}{typed}{cursor}{hint}"))
    };
    let mut lines = Vec::new();
    if it.deed == Deed::Weight {
        lines.push(field("weight", &it.weight, !it.at_lasts, "a number"));
    }
    if it.deed != Deed::Undrain {
        lines.push(field("for", &it.lasts, it.at_lasts, "10m, 1h30m; nothing: until it is taken back"));
        lines.push(Line::default());
    }
    lines.push(match &it.stage {
        Stage::Open if it.deed == Deed::Weight => "y do it   n do not   Tab the other field".into(),
        Stage::Open => "y do it   n do not".into(),
        Stage::Asked => "the daemon was asked …   Esc does not wait".into(),
        Stage::Refused(why) => Line::styled(why.clone(), look.style(BAD)),
    });
    draw_box(&title, lines, area, buffer);
}
