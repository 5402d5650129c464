//! Secrets that stand in the config itself are not shown in what is said about it, and that may end up in a log.

/// Keys, and headers of a request, whose values are secrets, in lower case.
const SECRET: [&str; 4] = ["community", "authorization", "cookie", "x-api-key"];

/// `text` with `*` for each byte of a secret: all else stays at its place.
pub fn masked(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut line = line.to_owned();
    for key in SECRET {
        for (at, _) in lower.match_indices(key) {
            if let Some((start, end)) = value(&line, at + key.len()) {
                line.replace_range(start..end, &"*".repeat(end - start));
            }
        }
    }
    line
}

/// Where the value of the key stands that ends here: between the quotes, or to the end where the second is missing.
fn value(line: &str, end_of_key: usize) -> Option<(usize, usize)> {
    let rest = &line[end_of_key..];
    let equals = rest.find(|c: char| !c.is_whitespace() && c != '"' && c != '\'')?;
    let value = rest[equals..].strip_prefix('=')?;
    let start = value.find(['"', '\''])?;
    let quote = value[start..].chars().next()?;
    let inside = end_of_key + equals + 1 + start + 1;
    let mut escaped = false;
    let closes = |(_, c): &(usize, char)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped && quote == '"';
        closes
    };
    let text = &line[inside..];
    let end = text.char_indices().find(closes).map_or(text.trim_end().len(), |(at, _)| at);
    Some((inside, inside + end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        for (text, shown) in [
            (
                r#"check = { community = "geheim", oid = "1.3" }"#,
                r#"check = { community = "******", oid = "1.3" }"#,
            ),
            (r#"headers = { "Authorization" = 'Basic x' }"#, r#"headers = { "Authorization" = '*******' }"#),
            (r#"community = "a\"b" # c"#, r#"community = "****" # c"#),
            ("community = \"open\nnext = \"x\"", "community = \"****\nnext = \"x\""),
            (r#"community_file = "/etc/x""#, r#"community_file = "/etc/x""#),
            (r#"send = "community""#, r#"send = "community""#),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    proptest! {
        #[test]
        fn every_place_stays(text in "(community|Cookie| |=|\"|'|\\\\|é|x|\n){0,40}") {
            let masked = masked(&text);
            prop_assert_eq!(masked.len(), text.len());
            let ends = |text: &str| text.match_indices('\n').map(|(at, _)| at).collect::<Vec<_>>();
            prop_assert_eq!(ends(&masked), ends(&text));
        }
    }
}
