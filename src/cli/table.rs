//! Columns that line up, with styles, within a width.

use anstyle::Style;

/// A text in a style.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub style: Style,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    /// In its style, at least so wide.
    fn padded(&self, width: usize, right: bool) -> String {
        let pad = " ".repeat(width.saturating_sub(self.text.chars().count()));
        let text = format!("{}{}{}", self.style, self.text, self.style.render_reset());
        if right { pad + &text } else { text + &pad }
    }
}

/// A column: its head, and whether it is of numbers.
pub type Column = (&'static str, bool);

/// Whether all but the last column fit into `width`, with room for some words of the last.
pub fn fits(columns: &[Column], rows: &[Vec<Cell>], indent: &str, width: usize) -> bool {
    let last = columns.len() - 1;
    indent.len() + widths(columns, rows).iter().sum::<usize>() + 2 * last + WORDS <= width
}

/// So much room for the last column is worth more than the column before it.
const WORDS: usize = 24;

/// Of all columns but the last.
fn widths(columns: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let cells = |at: usize| rows.iter().map(move |row| row[at].text.chars().count());
    (0..columns.len() - 1).map(|at| cells(at).chain([columns[at].0.len()]).max().unwrap_or(0)).collect()
}

/// Rows under their heads, each after `indent`. The last column is as wide as it is: what does not fit into `width` any more is
/// written below its row.
pub fn rows(columns: &[Column], rows: &[Vec<Cell>], indent: &str, width: usize) -> String {
    let length = |text: &str| text.chars().count();
    let last = columns.len() - 1;
    let widths = widths(columns, rows);
    let head: Vec<Cell> =
        columns.iter().map(|(head, _)| Cell::styled(*head, Style::new().dimmed())).collect();
    let room = width.saturating_sub(length(indent) + widths.iter().sum::<usize>() + 2 * last);
    let mut lines = String::new();
    let below = rows.iter().any(|row| length(&row[last].text) > room);
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = (0..last).map(|at| row[at].padded(widths[at], columns[at].1)).collect();
        lines += &format!("{indent}{}", cells.join("  "));
        let said = &row[last];
        let is_head = std::ptr::eq(row, &head);
        match (said.text.is_empty(), below) {
            (true, _) => {}
            (false, true) if is_head => {}
            (false, true) => lines += &format!("\n{indent}    {}", said.padded(0, false)),
            (false, false) => lines += &format!("  {}", said.padded(0, false)),
        }
        lines.truncate(lines.trim_end_matches(' ').len());
        lines.push('\n');
    }
    lines
}
