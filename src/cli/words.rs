//! How times and amounts are said on a terminal.

use std::time::Duration;

/// A span of time in at most two units: `4d 2h`, `17m 3s`, `12s`, `0s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (unit, name) = units[first];
    let mut said = format!("{}{name}", seconds / unit);
    if let Some((smaller, name)) = units.get(first + 1)
        && seconds % unit / smaller != 0
    {
        said += &format!(" {}{name}", seconds % unit / smaller);
    }
    said
}

/// `0.4ms`, `12ms`, `1200ms`.
pub fn milliseconds(it: Duration) -> String {
    let milliseconds = it.as_secs_f64() * 1e3;
    if milliseconds < 9.95 { format!("{milliseconds:.1}ms") } else { format!("{milliseconds:.0}ms") }
}

/// In at most 5 characters up to 9999 million.
pub fn short(number: f64) -> String {
    match number {
        ..9.95 if number > 0.0 => format!("{number:.1}"),
        ..999.5 => format!("{number:.0}"),
        ..99_950.0 => format!("{:.1}k", number / 1e3),
        ..999_500.0 => format!("{:.0}k", number / 1e3),
        ..99_950_000.0 => format!("{:.1}M", number / 1e6),
        _ => format!("{:.0}M", number / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_at_most() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [0, 59, 60, 61, 3_600, 3_725, 90_000].map(said),
            ["0s", "59s", "1m", "1m 1s", "1h", "1h 2m", "1d 1h"]
        );
    }
}
