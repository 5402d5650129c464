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

/// A quantity in three digits: `0`, `12`, `1.23k`, `4.5m`, `99.9M`.
pub fn quantity(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u")];
    // Three digits may round up to the next unit.
    let unit = units.iter().find(|(unit, _)| value >= unit * 0.9995);
    let Some((unit, name)) = unit.filter(|_| value.is_finite()) else { return "0".to_owned() };
    let scaled = value / unit;
    let places = if scaled < 9.995 {
        2
    } else if scaled < 99.95 {
        1
    } else {
        0
    };
    let digits = format!("{scaled:.places$}");
    let digits = if places > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{name}")
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

    #[test]
    fn three_digits_at_most() {
        assert_eq!(
            [0.0, 1.0, 12.0, 99.96, 999.6, 1_234.0, 100_000.0, 2.5e9, 0.000_7, 0.004_56, 1e-9, f64::NAN]
                .map(quantity),
            ["0", "1", "12", "100", "1k", "1.23k", "100k", "2.5G", "700u", "4.56m", "0", "0"]
        );
    }
}
