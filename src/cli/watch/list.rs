//! The list: a line a service and a line a server, in columns; only those that are seen are made.

use anstyle::Style as Said;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{RenderDirection, Sparkline, Widget};

use super::series::{key, rates};
use super::state::{Row, State};
use super::view::Look;
use crate::cli::status::{BAD, BOLD, WARN, health, latency, settings, verdict, weight, why};
use crate::cli::words::{milliseconds, span};
use crate::core::pool::Health;
use crate::core::status::{ServiceStatus, Status};

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Server,
    Weight,
    Verdict,
    Since,
    In,
    Series,
    Out,
    Probe,
    Why,
}

use Column::{In, Out, Probe, Series, Server, Since, Verdict, Weight, Why};

/// Each column's head, its width, and whether it is of numbers, which end below each other.
fn of(column: Column) -> (&'static str, u16, bool) {
    match column {
        Server => ("SERVER", 16, false),
        Weight => ("WEIGHT", 6, true),
        Verdict => ("VERDICT", 9, false),
        Since => ("SINCE", 7, true),
        In => ("IN/s", 6, true),
        Series => ("", 8, false),
        Out => ("OUT/s", 6, true),
        Probe => ("PROBE", 7, true),
        Why => ("WHY", 16, false),
    }
}

/// Between columns.
const GAP: u16 = 2;

/// The columns that fit, in order, with their widths: first those that matter most. `name` is that of the longest server.
fn columns(width: u16, name: u16, status: &Status) -> Vec<(Column, u16)> {
    let counted = status.counted.is_some();
    let fill = if counted { Series } else { Why };
    let mut columns = Vec::new();
    // The last needs no gap.
    let mut left = width + GAP;
    for column in [Server, Weight, Verdict, In, Series, Probe, Out, Since, Why] {
        let wide = if column == Server { name } else { of(column).1 };
        if (counted || !matches!(column, In | Series | Out)) && wide + GAP <= left {
            columns.push((column, wide));
            left -= wide + GAP;
        }
    }
    columns.sort();
    let last = if columns.iter().any(|(column, _)| *column == Why) { Why } else { fill };
    if let Some((_, wide)) = columns.iter_mut().find(|(column, _)| *column == last) {
        *wide += left;
    }
    columns
}

/// Draws the list, and scrolls it so that the chosen line is seen.
pub fn draw(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let Some(page) = area.height.checked_sub(1).filter(|page| *page > 0) else { return };
    let page = usize::from(page);
    state.page = page;
    state.top = state.top.min(state.chosen).max((state.chosen + 1).saturating_sub(page));
    state.top = state.top.min(state.rows.len().saturating_sub(page));
    let seen: Vec<(usize, Row)> = state.rows.iter().copied().enumerate().skip(state.top).take(page).collect();
    let names = seen.iter().filter_map(|(_, row)| Some(state.of(*row).1?.address.to_string().len()));
    let name =
        u16::try_from(names.max().unwrap_or(0) + MARK.len()).unwrap_or(u16::MAX).clamp(of(Server).1, 50);
    let columns = columns(area.width, name, &state.status);

    let mut x = area.x;
    for (column, width) in &columns {
        let (head, _, right) = of(*column);
        let head = place(head, *width, right);
        buffer.set_stringn(x, area.y, head, (*width).into(), Style::new().add_modifier(Modifier::DIM));
        x += width + GAP;
    }
    for (line, (place, row)) in (area.y + 1..).zip(seen) {
        let rect = Rect { y: line, height: 1, ..area };
        draw_row(state, row, look, &columns, rect, buffer);
        if place == state.chosen {
            buffer.set_stringn(rect.x, line, ">", 1, Style::new());
            buffer.set_style(rect, Modifier::REVERSED);
        }
    }
    if state.rows.is_empty() {
        let text = match state.status.services.is_empty() {
            true => "no service yet: the daemon is starting".to_owned(),
            false => format!("nothing contains \"{}\"; Esc shows all again", state.filter),
        };
        buffer.set_stringn(area.x, area.y + 1, text, area.width.into(), Style::new());
    }
}

/// Before each name, for the `>` of the chosen line.
const MARK: &str = "  ";

fn draw_row(state: &State, row: Row, look: Look, columns: &[(Column, u16)], area: Rect, buffer: &mut Buffer) {
    let (service, server) = state.of(row);
    let wrong = service.health != Health::Enough || !service.present || service.quorum == Some(false);
    if server.is_none() {
        // What is wrong takes the room of the rates.
        let rates = columns.iter().position(|(column, _)| *column == In && !wrong);
        let before = &columns[..rates.unwrap_or(columns.len())];
        let width: u16 = before.iter().map(|(_, width)| width + GAP).sum();
        draw_service(service, look, Rect { width: width.min(area.width), ..area }, buffer);
    }
    let traffic = server.map_or(service.traffic, |server| server.traffic);
    let [incoming, outgoing] = rates(traffic);
    let mut x = area.x;
    for (column, width) in columns {
        let cell = Rect { x, width: *width, ..area }.intersection(area);
        x += width + GAP;
        let plain = |text: String| (text, Said::new());
        let (text, style) = match (column, server) {
            (In | Series | Out, None) if wrong => continue,
            (Series, _) => {
                let key = key(service, server);
                let series = Sparkline::default().data(state.series.of(&key));
                series.direction(RenderDirection::RightToLeft).render(cell, buffer);
                continue;
            }
            (In, _) => plain(incoming.clone()),
            (Out, _) => plain(outgoing.clone()),
            (_, None) => continue,
            (Server, Some(it)) => plain(format!("{MARK}{}", it.address)),
            (Weight, Some(it)) => (weight(it), if it.weight == Some(0) { WARN } else { Said::new() }),
            (Verdict, Some(it)) => (verdict(it).0.to_owned(), verdict(it).1),
            (Since, Some(it)) => {
                plain(it.since.map(|since| span(state.status.now.saturating_sub(since))).unwrap_or_default())
            }
            (Probe, Some(it)) => plain(latency(it).map_or("-".to_owned(), milliseconds)),
            (Why, Some(it)) => plain(why(it, state.status.now)),
        };
        let text = place(&text, cell.width, of(*column).2);
        buffer.set_stringn(cell.x, cell.y, text, cell.width.into(), look.style(style));
    }
}

fn draw_service(it: &ServiceStatus, look: Look, area: Rect, buffer: &mut Buffer) {
    let (up, style) = health(it);
    let mut said = vec![
        (format!("{MARK}{}", it.name), BOLD),
        (it.vip.to_string(), Said::new()),
        (up, style),
        (settings(it), Said::new()),
    ];
    if !it.present {
        said.insert(2, ("not in the kernel".to_owned(), BAD));
    }
    if it.quorum == Some(false) {
        said.insert(2, ("quorum lost".to_owned(), WARN));
    }
    let mut x = area.x;
    for (text, style) in said {
        let room = area.right().saturating_sub(x);
        let text = place(&text, room, false);
        x = buffer.set_stringn(x, area.y, text, room.into(), look.style(style)).0.saturating_add(GAP);
    }
}

/// In a column of this width: what is too long ends with `…`.
pub fn place(text: &str, width: u16, right: bool) -> String {
    let width = usize::from(width);
    if text.chars().count() > width {
        let kept: String = text.chars().take(width.saturating_sub(1)).collect();
        return kept + if width == 0 { "" } else { "…" };
    }
    if right { format!("{text:>width$}") } else { text.to_owned() }
}
