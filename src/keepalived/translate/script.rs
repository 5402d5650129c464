//! Scripts: their words as a command, and those among them that only switch one-packet scheduling on.

use std::path::Path;

use super::super::model::{Account, Lvs, Script};
use super::super::outside::Outside;
use super::document::{Item, Table, Value};
use super::note::Notes;

/// Where keepalived looks for a program that is named without its path.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// No longer script is looked into.
const MOST: usize = 64 << 10;

/// What all scripts of a file share.
pub struct Scripts<'a> {
    pub outside: &'a dyn Outside,
    pub lvs: &'a Lvs,
}

impl Scripts<'_> {
    /// The words of a script, the program by its whole path. `keyword` names it.
    pub fn words(&self, script: &Script, keyword: &'static str, notes: &mut Notes) -> Option<Value> {
        let Some(mut words) = script.arguments().filter(|words| !words.is_empty()) else {
            notes.refused(script.place, keyword, "the command is empty, or a quote in it has no end");
            return None;
        };
        if !words[0].starts_with('/') {
            let found = PATH.iter().map(|folder| format!("{folder}/{}", words[0]));
            match found
                .into_iter()
                .find(|path| !self.outside.matches(&glob::Pattern::escape(path)).is_empty())
            {
                Some(path) => words[0] = path,
                None => {
                    let said = format!("there is no program `{}`: name it by its whole path", words[0]);
                    notes.refused(script.place, keyword, said);
                    return None;
                }
            }
        }
        Some(words.into_iter().map(|word| Item::new(word, None)).collect::<Vec<_>>().into())
    }

    /// A command that is told of a change.
    pub fn hook(&self, script: &Script, keyword: &'static str, notes: &mut Notes) -> Option<Item> {
        let mut table = Table::default();
        table.set("command", self.words(script, keyword, notes)?, script.place);
        table.set("privileges", "network", None);
        notes.noted(
            script.place,
            keyword,
            "it keeps no privileges but CAP_NET_ADMIN and CAP_NET_RAW, and is killed after 10 s: see `privileges` and `timeout`",
        );
        self.user(script, &mut table, notes);
        Some(Item::new(table, script.place))
    }

    /// As whom a script runs.
    pub fn user(&self, script: &Script, table: &mut Table, notes: &mut Notes) {
        let account = script.account.as_ref().map(|account| (account, script.place));
        let global = self.lvs.global.script_user.as_ref().map(|at| (&at.value, at.place));
        match account.or(global) {
            Some((Account { user, group: Some(group) }, place)) => {
                table.set("user", format!("{user}:{group}"), place);
            }
            Some((Account { user, group: None }, place)) => table.set("user", user.as_str(), place),
            None => notes.noted(
                script.place,
                "script_user",
                "there is none: scripts run as ipvsd's own user, not as `keepalived_script` or root",
            ),
        }
    }

    /// Whether a script only switches one-packet scheduling on: `ipvsadm -E -u VIP:PORT --ops`, or a file of such lines.
    pub fn is_ops(&self, script: &Script) -> bool {
        let Some(words) = script.arguments() else { return false };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if edits_ops(&words) {
            return true;
        }
        let shell = words.first().is_some_and(|word| ["sh", "bash"].contains(&program(word)));
        if let (true, ["-c", line]) = (shell, words.get(1..).unwrap_or_default()) {
            return only_ops(line);
        }
        let file = if shell { words.get(1) } else { words.first() };
        let Some(path) = file.filter(|path| path.starts_with('/')) else { return false };
        let text = self.outside.read(Path::new(path)).ok().filter(|text| text.len() <= MOST);
        text.and_then(|text| String::from_utf8(text).ok())
            .is_some_and(|text| (shell || text.starts_with("#!")) && only_ops(&text))
    }
}

/// Whether there is a command in a shell's text, and all of them do nothing but that.
fn only_ops(text: &str) -> bool {
    let lines = text.split(['\n', ';']).map(str::trim);
    let mut lines =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#') && *line != "exit 0").peekable();
    lines.peek().is_some() && lines.all(|line| edits_ops(&line.split_whitespace().collect::<Vec<_>>()))
}

/// Whether it is an `ipvsadm` that edits a UDP service or a firewall mark to have one-packet scheduling.
fn edits_ops(words: &[&str]) -> bool {
    let [name, options @ ..] = words else { return false };
    let has = |names: [&str; 2]| options.iter().any(|option| names.contains(option));
    let service = has(["-u", "--udp-service"]) || has(["-f", "--fwmark-service"]);
    program(name) == "ipvsadm" && has(["-E", "--edit-service"]) && has(["-o", "--ops"]) && service
}

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_nothing_else_is_one_packet_scheduling() {
        for (text, is) in [
            ("ipvsadm -E -u 192.0.2.1:53 --ops -s rr", true),
            (
                "#!/bin/sh\n# the flag\n/sbin/ipvsadm -E -u 192.0.2.1:53 -o -s rr\nipvsadm -E -f 7 -o; exit 0",
                true,
            ),
            ("ipvsadm -E -u 192.0.2.1:53 -s rr", false),
            ("ipvsadm -E -t 192.0.2.1:53 --ops", false),
            ("ipvsadm -E -u 192.0.2.1:53 --ops\nip addr add 192.0.2.1 dev lo", false),
            ("#!/bin/sh\n", false),
            ("", false),
        ] {
            assert_eq!(only_ops(text), is, "{text}");
        }
    }
}
