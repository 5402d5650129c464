//! `~SEQ(…)`, `~SEQx(…)` and `~LST(…)`: the rest of the line once for each value.

use super::variables::identifier;

/// What a line says that begins with a generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    names: Vec<String>,
    values: Values,
    /// The byte after its `)`.
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Sequence { next: i128, step: i128, last: i128, hex: bool },
    List { rows: Vec<Vec<String>>, next: usize },
}

/// The generator that a line begins with; an error if it is none that keepalived would take.
pub fn generator(text: &str) -> Option<Result<Generator, String>> {
    let (kind, rest) = if let Some(rest) = text.strip_prefix("~SEQx") {
        (Kind::Hex, rest)
    } else if let Some(rest) = text.strip_prefix("~SEQ") {
        (Kind::Decimal, rest)
    } else {
        (Kind::List, text.strip_prefix("~LST")?)
    };
    let inside = rest.trim_start().strip_prefix('(')?;
    let Some(close) = inside.find(')') else { return Some(Err("the `)` is missing".to_owned())) };
    let end = text.len() - inside.len() + close + 1;
    let inside = &inside[..close];
    let parsed = match kind {
        Kind::List => list(inside),
        _ => sequence(inside, kind == Kind::Hex),
    };
    Some(parsed.map(|(names, values)| Generator { names, values, end }))
}

#[derive(PartialEq)]
enum Kind {
    Decimal,
    Hex,
    List,
}

impl Generator {
    /// The variables of the next round.
    pub fn next(&mut self) -> Option<Vec<(String, String)>> {
        let row = match &mut self.values {
            Values::Sequence { next, step, last, hex } => {
                let value = *next;
                if if *step > 0 { value > *last } else { value < *last } {
                    return None;
                }
                *next += *step;
                vec![if *hex { format!("{value:x}") } else { value.to_string() }]
            }
            Values::List { rows, next } => {
                *next += 1;
                rows.get(*next - 1)?.clone()
            }
        };
        let values = row.into_iter().chain(std::iter::repeat(String::new()));
        Some(self.names.iter().cloned().zip(values).collect())
    }
}

type Parsed = Result<(Vec<String>, Values), String>;

fn sequence(inside: &str, hex: bool) -> Parsed {
    let mut parts = inside.split([',', ' ', '\t']).map(str::trim).filter(|part| !part.is_empty());
    let name = named(parts.next().unwrap_or_default())?;
    let numbers = parts.map(number).collect::<Result<Vec<_>, _>>()?;
    let towards = |from: i128, to: i128| if to < from { -1 } else { 1 };
    let (start, step, end) = match *numbers {
        [end] => (towards(0, end), towards(0, end), end),
        [start, end] => (start, towards(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return Err("a variable and one to three numbers belong here".to_owned()),
    };
    if step == 0 || (start != end && (step > 0) != (end > start)) {
        return Err(format!("{start} never reaches {end} by {step}"));
    }
    if hex && (start < 0 || end < 0) {
        return Err("hexadecimal numbers cannot be negative".to_owned());
    }
    Ok((vec![name], Values::Sequence { next: start, step, last: end, hex }))
}

fn list(inside: &str) -> Parsed {
    let mut groups = groups(inside)?.into_iter();
    let first = groups.next().ok_or("a variable belongs here")?;
    let braced = first.braced;
    let names = first.values.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<_> = groups.map(|group| group.values).collect();
    if rows.is_empty() {
        return Err("at least one value belongs here".to_owned());
    }
    if let Some(row) = rows.iter().find(|row| row.len() > names.len()) {
        return Err(format!("{} values for {} variables", row.len(), names.len()));
    }
    if !braced && rows.iter().flatten().any(|value| value.contains(char::is_whitespace)) {
        return Err("a value has a space".to_owned());
    }
    Ok((names, Values::List { rows, next: 0 }))
}

struct Group {
    values: Vec<String>,
    braced: bool,
}

/// `a, b` or `{a, b}, {c, d}`, split at the outer commas.
fn groups(inside: &str) -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    let mut rest = inside.trim();
    if rest.is_empty() {
        return Ok(groups);
    }
    loop {
        let after = if let Some(braced) = rest.strip_prefix('{') {
            let close = braced.find('}').ok_or("a `}` is missing")?;
            let values = braced[..close].split(',').map(|value| value.trim().to_owned()).collect();
            groups.push(Group { values, braced: true });
            braced[close + 1..].trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            groups.push(Group { values: vec![rest[..end].trim().to_owned()], braced: false });
            &rest[end..]
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return Ok(groups),
            None => return Err(format!("`{after}` is one too many")),
        }
    }
}

fn named(name: &str) -> Result<String, String> {
    match identifier(name) {
        Some(whole) if whole.len() == name.len() => Ok(name.to_owned()),
        _ => Err(format!("`{name}` cannot be the name of a variable")),
    }
}

/// Decimal, `0x…`, or octal with a leading 0.
fn number(text: &str) -> Result<i128, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    match i64::from_str_radix(digits, radix) {
        Ok(number) if number >= 0 => Ok(sign * i128::from(number)),
        _ => Err(format!("`{text}` is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, String> {
        let mut generator = generator(text).expect("a generator")?;
        let rows = std::iter::from_fn(|| generator.next());
        Ok(rows
            .map(|row| {
                row.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            })
            .collect())
    }

    /// Each line is what keepalived 2.2.7 makes of it.
    #[test]
    fn a_sequence_counts_as_keepalived_counts() {
        let cases = [
            ("~SEQ(A,1,3)", "A=1 A=2 A=3"),
            ("~SEQ (B, 1, 2, 5)", "B=1 B=3 B=5"),
            ("~SEQ(C 5 3)", "C=5 C=4 C=3"),
            ("~SEQ(D,3)", "D=1 D=2 D=3"),
            ("~SEQ(D,-3)", "D=-1 D=-2 D=-3"),
            ("~SEQx(E,0x90,0x10,0xb0)", "E=90 E=a0 E=b0"),
            ("~SEQx(E,10,-1,8)", "E=a E=9 E=8"),
            ("~SEQ(I,010,012)", "I=8 I=9 I=10"),
            ("~SEQ(I,1,1)", "I=1"),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text).map(|rows| rows.join(" ")).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["~SEQ(G,5,1,1)", "~SEQ(H,5,0,1)", "~SEQ(J,a,b)", "~SEQ(K,1,2,3,4)", "~SEQ(O,1,2", "~SEQ(1,1,2)"]
        {
            assert!(all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_gives_its_values_in_turn() {
        let cases = [
            ("~LST(S,a,b)", "S=a, S=b"),
            ("~LST({T,U}, {1 , 2}, {3, 4} )", "T=1 U=2, T=3 U=4"),
            ("~LST({T,U},{1},{3,4})", "T=1 U=, T=3 U=4"),
            ("~LST(X,,y)", "X=, X=y"),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text).map(|rows| rows.join(", ")).as_deref(), Ok(expected), "{text}");
        }
        for text in ["~LST(W)", "~LST({Y,Z},{1,2,3})", "~LST(S,a b,c)", "~LST({A},{1", "~LST()"] {
            assert!(all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_lines_are_no_generators() {
        assert_eq!(generator("~FOO(x)"), None);
        assert_eq!(generator("~"), None);
    }
}
