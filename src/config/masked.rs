//! Secrets that stand in the config itself are not shown in what is said about it, and that may end up in a log, or with those who
//! may only read.

/// How keys, and headers of a request, end whose values are secrets, in lower case; some that no config has, but somebody writes.
const SECRET: [&str; 8] =
    ["community", "authorization", "cookie", "api-key", "secret", "password", "passwd", "token"];

/// `text` with `*` for each byte of a secret: all else stays at its place.
pub fn masked(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut masked = text.to_owned();
    for key in SECRET {
        for (at, _) in lower.match_indices(key) {
            if let Some((start, end)) = value(text, at + key.len()) {
                let hidden: String = text[start..end].split_inclusive('\n').map(line).collect();
                masked.replace_range(start..end, &hidden);
            }
        }
    }
    masked
}

fn line(line: &str) -> String {
    let text = line.trim_end_matches(['\r', '\n']);
    "*".repeat(text.len()) + &line[text.len()..]
}

/// Where the value of the key stands that ends here: between its quotes, or to the end of the line where that is not to be said.
fn value(text: &str, end_of_key: usize) -> Option<(usize, usize)> {
    let blank = |c: char| c == ' ' || c == '\t';
    let rest = text[end_of_key..].trim_start_matches(|c| blank(c) || c == '"' || c == '\'');
    let value = rest.strip_prefix('=')?.trim_start_matches(blank);
    let start = text.len() - value.len();
    for quotes in ["\"\"\"", "\'\'\'"] {
        if let Some(inside) = value.strip_prefix(quotes) {
            let end = inside.find(quotes).unwrap_or(inside.len());
            return Some((start + quotes.len(), start + quotes.len() + end));
        }
    }
    let first = value.lines().next().unwrap_or_default();
    let Some(quote) = first.chars().next().filter(|c| *c == '"' || *c == '\'') else {
        return Some((start, start + first.trim_end().len()));
    };
    let mut escaped = false;
    let closes = |(_, c): &(usize, char)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped && quote == '"';
        closes
    };
    let inside = &first[1..];
    let end = inside.char_indices().find(closes).map_or(inside.trim_end().len(), |(at, _)| at);
    Some((start + 1, start + 1 + end))
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
            // Of mistakes the line is shown.
            ("community = geheim", "community = ******"),
            ("community = geheim # c\r\nx = 1", "community = **********\r\nx = 1"),
            ("community = '''geheim'''", "community = '''******'''"),
            ("community = \"\"\"ge\nheim\"\"\" # c\n", "community = \"\"\"**\n****\"\"\" # c\n"),
            ("community =\nx = \"y\"", "community =\nx = \"y\""),
            (r#"community = ["geheim"]"#, "community = **********"),
            (r#"{ type = "radius", secret = "geheim" }"#, r#"{ type = "radius", secret = "******" }"#),
            (
                r#"{ "X-Auth-Token" = "geheim", Accept = "a" }"#,
                r#"{ "X-Auth-Token" = "******", Accept = "a" }"#,
            ),
            (r#"password = "geheim""#, r#"password = "******""#),
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
