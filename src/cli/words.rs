//! How times are said on a terminal.

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
