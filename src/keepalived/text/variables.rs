//! `$NAME=value`, and `$NAME` and `${NAME}` where they are used: in place, late, again and again.

use std::collections::HashMap;

use super::Built;
use super::line::Line;

/// What is defined at this point of the file.
#[derive(Debug, Default)]
pub struct Variables(HashMap<String, String>);

/// What came of the first variable that a line uses.
#[derive(Debug, PartialEq, Eq)]
pub enum Used {
    /// It uses none (any more).
    None,
    /// It was replaced; there may be more.
    Replaced,
    /// Its value has several lines, and so has the line now.
    Lines,
}

impl Variables {
    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// Replaces the first variable from a byte on, and moves that byte to where the next one may begin.
    pub fn replace_first(&self, line: &mut Line, from: &mut usize, built: &Built<'_>) -> Used {
        while let Some(dollar) = line.text[*from..].find('$').map(|at| at + *from) {
            *from = dollar + 1;
            let Some((name, end)) = used_name(&line.text, dollar) else { continue };
            let value = match self.0.get(name.split(' ').next().unwrap_or_default()) {
                Some(value) => value.clone(),
                None => match built.value(name) {
                    Some(value) => value,
                    None => continue,
                },
            };
            line.replace(dollar, end, &value);
            *from = dollar;
            return if value.contains('\n') { Used::Lines } else { Used::Replaced };
        }
        Used::None
    }
}

/// A definition: the name, and the byte at which the value begins. Only white space may stand before it.
pub fn definition(text: &str) -> Option<(&str, usize)> {
    let start = text.len() - text.trim_start().len();
    let rest = text[start..].strip_prefix('$')?;
    let name = identifier(rest)?;
    rest[name.len()..].starts_with('=').then_some((name, start + name.len() + 2))
}

/// The name that a `$` begins, and the byte after its use. Without braces it ends at white space, a comma or a `)`.
fn used_name(text: &str, dollar: usize) -> Option<(&str, usize)> {
    let rest = &text[dollar + 1..];
    if let Some(braced) = rest.strip_prefix('{') {
        let inside = &braced[..braced.find('}')?];
        let name = identifier(inside)?;
        let arguments = &inside[name.len()..];
        let whole = arguments.is_empty() || (arguments.starts_with(' ') && name.starts_with('_'));
        return whole.then_some((inside, dollar + inside.len() + 3));
    }
    let name = identifier(rest)?;
    let next = rest[name.len()..].chars().next();
    next.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | ')'))
        .then_some((name, dollar + 1 + name.len()))
}

/// The name that a text begins with.
pub fn identifier(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = &text[..end];
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}
