//! The list: a line a service and a line a server, in columns; only those that are seen are made.

use anstyle::Style as Said;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::state::{Row, State};
use super::view::Look;
use crate::cli::status::{BAD, BOLD, WARN, health, settings, verdict, weight, why};
use crate::cli::words::span;
use crate::core::status::{ServerStatus, ServiceStatus};

/// What a column shows of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Server,
    Weight,
    Verdict,
    Since,
    Why,
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Server => "SERVER",
            Self::Weight => "WEIGHT",
            Self::Verdict => "VERDICT",
            Self::Since => "SINCE",
            Self::Why => "WHY",
        }
    }

    /// Numbers end below each other.
    fn right(self) -> bool {
        matches!(self, Self::Weight | Self::Since)
    }
}

/// Which columns fit, with the width of each; `name` is that of the longest server. The last takes what is left.
fn columns(width: u16, name: u16) -> Vec<(Column, u16)> {
    let mut columns =
        vec![(Column::Server, name), (Column::Weight, 6), (Column::Verdict, 9), (Column::Since, 7)];
    let left = |columns: &[(Column, u16)]| {
        width.saturating_sub(columns.iter().map(|(_, width)| width + GAP).sum::<u16>())
    };
    if left(&columns) < 8 {
        columns.retain(|(column, _)| *column != Column::Since);
    }
    let why = left(&columns);
    if why >= 8 {
        columns.push((Column::Why, why));
    }
    columns
}

const GAP: u16 = 2;

/// Draws the list, and scrolls it so that the chosen line is seen.
pub fn draw(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let Some(page) = area.height.checked_sub(1).filter(|page| *page > 0) else { return };
    let page = usize::from(page);
    state.page = page;
    state.top = state.top.min(state.chosen).max((state.chosen + 1).saturating_sub(page));
    state.top = state.top.min(state.rows.len().saturating_sub(page));
    let seen: Vec<(usize, Row)> = state.rows.iter().copied().enumerate().skip(state.top).take(page).collect();
    let names =
        seen.iter().filter_map(|(_, row)| Some(state.of(*row).1?.address.to_string().len() + MARK.len()));
    let name = u16::try_from(names.max().unwrap_or(0)).unwrap_or(u16::MAX).clamp(18, 50);
    let columns = columns(area.width, name);

    let mut x = area.x;
    for (column, width) in &columns {
        let head = place(column.head(), *width, column.right());
        buffer.set_stringn(x, area.y, head, (*width).into(), Style::new().add_modifier(Modifier::DIM));
        x += width + GAP;
    }
    for (line, (place, row)) in (area.y + 1..).zip(seen) {
        let rect = Rect { y: line, height: 1, ..area };
        match state.of(row) {
            (service, None) => draw_service(service, look, rect, buffer),
            (_, Some(server)) => draw_server(server, state, look, &columns, rect, buffer),
        }
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
        x = buffer.set_stringn(x, area.y, text, room.into(), look.style(style)).0.saturating_add(GAP);
    }
}

fn draw_server(
    it: &ServerStatus,
    state: &State,
    look: Look,
    columns: &[(Column, u16)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let now = state.status.now;
    let mut x = area.x;
    for (column, width) in columns {
        let (text, style) = match column {
            Column::Server => (format!("{MARK}{}", it.address), Said::new()),
            Column::Weight => (weight(it), if it.weight == Some(0) { WARN } else { Said::new() }),
            Column::Verdict => (verdict(it).0.to_owned(), verdict(it).1),
            Column::Since => {
                (it.since.map(|since| span(now.saturating_sub(since))).unwrap_or_default(), Said::new())
            }
            Column::Why => (why(it, now), Said::new()),
        };
        let text = place(&text, *width, column.right());
        buffer.set_stringn(x, area.y, text, (*width).into(), look.style(style));
        x += width + GAP;
    }
}

/// In a column of this width: what is too long ends with `…`.
pub fn place(text: &str, width: u16, right: bool) -> String {
    let width = usize::from(width);
    if text.chars().count() > width {
        let kept: String = text.chars().take(width.saturating_sub(1)).collect();
        return kept + "…";
    }
    if right { format!("{text:>width$}") } else { text.to_owned() }
}
