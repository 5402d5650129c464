//! `HTTP_GET` and `SSL_GET` with their pages.

use super::Reading;
use super::check::Shared;
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{CheckKind, Family, Url, Value};
use crate::keepalived::place::At;
use crate::keepalived::tree::Statement;

impl Reading<'_> {
    pub fn http(
        &mut self,
        of: Block,
        statement: &Statement,
        family: Family,
        shared: &mut Shared,
        block: &[Statement],
    ) -> Option<CheckKind> {
        let mut version = Value::default("1.0".to_owned());
        let (mut virtualhost, mut sni, mut sni_name, mut urls) =
            (None, Value::default(false), None, Vec::new());
        self.each(of, block, |reading, name, statement| match name {
            "url" => urls.extend(reading.url(statement, statement.block.as_deref().unwrap_or_default())),
            "http_protocol" => {
                let Some(word) = reading.argument(statement) else { return };
                let upper = word.text.to_ascii_uppercase();
                if matches!(upper.as_str(), "1.0" | "1.0C" | "1.1") {
                    version = Value { value: upper, place: Some(word.place) };
                } else {
                    reading.bad(word, "the protocol", "1.0, 1.0C or 1.1");
                }
            }
            "virtualhost" => virtualhost = reading.optional_text(statement),
            "enable_sni" => sni = reading.switch(statement).map_or(sni, Value::from),
            "sni_name" => sni_name = reading.optional_text(statement),
            "fast_recovery" | "tls_compliant" => drop(reading.switch(statement)),
            "nb_get_retry" => {
                reading.findings.warning(
                    Rule::Deprecated,
                    statement.place(),
                    "`nb_get_retry` is an old name of `retry`",
                );
                reading.shared(shared, family, "retry", statement);
            }
            _ => reading.shared(shared, family, name, statement),
        });
        if urls.is_empty() {
            self.incomplete(statement, "url");
            return None;
        }
        Some(CheckKind::Http { tls: of == Block::SslGet, version, virtualhost, sni, sni_name, urls })
    }

    fn url(&mut self, statement: &Statement, block: &[Statement]) -> Option<Url> {
        let mut path = None;
        let mut url = Url {
            place: statement.place(),
            path: At { value: String::new(), place: statement.place() },
            digest: None,
            statuses: Vec::new(),
            virtualhost: None,
            regex: None,
            regex_no_match: None,
            regex_options: Vec::new(),
            regex_min_offset: None,
            regex_max_offset: None,
        };
        self.each(Block::Url, block, |reading, name, statement| match name {
            "path" => path = reading.text(statement),
            "digest" => {
                let Some(digest) = reading.argument(statement) else { return };
                if digest.text.len() == 32 && digest.text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    url.digest = Some(At { value: digest.text.clone(), place: digest.place });
                } else {
                    reading.bad(digest, "the digest", "32 hexadecimal digits");
                }
            }
            "status_code" => {
                reading.argument(statement);
                for word in &statement.words[1..] {
                    match statuses(&word.text) {
                        Some(range) => url.statuses.push(range),
                        None => {
                            reading.bad(word, "the status", "a number, or two with a `-`, from 100 to 599")
                        }
                    }
                }
            }
            "virtualhost" => url.virtualhost = reading.text(statement),
            "regex" => {
                let Some(word) = reading.argument(statement) else { return };
                url.regex = Some(At { value: word.unescaped(), place: word.place });
            }
            "regex_no_match" => url.regex_no_match = Some(statement.place()),
            "regex_options" => {
                let words = statement.words[1..].iter();
                url.regex_options
                    .extend(words.map(|word| At { value: word.text.clone(), place: word.place }));
            }
            "regex_min_offset" => url.regex_min_offset = reading.number(statement, 0..=u32::MAX.into()),
            "regex_max_offset" => url.regex_max_offset = reading.number(statement, 0..=u32::MAX.into()),
            _ => {}
        });
        let Some(path) = path else {
            self.incomplete(statement, "path");
            return None;
        };
        if url.statuses.is_empty() {
            url.statuses.push((200, 299));
        }
        Some(Url { path, ..url })
    }
}

fn statuses(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (status(first)?, status(last)?);
    (range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::statuses;

    #[test]
    fn a_status_is_one_that_keepalived_takes() {
        assert_eq!(statuses("100-599"), Some((100, 599)));
        for wrong in ["99", "600", "200-600", "300-200", "x"] {
            assert_eq!(statuses(wrong), None, "{wrong}");
        }
    }
}
