//! Scripts: their words as a command, and those among them that only switch one-packet scheduling on.

use std::net::SocketAddr;
use std::path::Path;

use rustc_hash::FxHashSet;

use super::super::model::{Account, Lvs, Member, Protocol, Script, Target, VirtualServer};
use super::super::outside::Outside;
use super::document::{Item, Table, Value};
use super::note::Notes;
use super::workaround::{self, Edit, Edited};

/// Where keepalived looks for a program that is named without its path.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// No longer script is looked into.
const MOST: usize = 64 << 10;

/// What all scripts of a file share.
pub struct Scripts<'a> {
    pub outside: &'a dyn Outside,
    pub lvs: &'a Lvs,
    /// What its virtual servers listen to, but for groups.
    targets: FxHashSet<Edited>,
}

impl<'a> Scripts<'a> {
    pub fn new(outside: &'a dyn Outside, lvs: &'a Lvs) -> Self {
        let targets = lvs.virtual_servers.iter().filter_map(|server| match server.target {
            Target::Address(ip, port) if is_udp(server) => Some(Edited::Address(SocketAddr::new(ip, port))),
            Target::Fwmark(mark) => Some(Edited::Mark(mark)),
            _ => None,
        });
        Self { outside, lvs, targets: targets.collect() }
    }

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
        if self.calls_ipvsadm(script) {
            let said = "it calls `ipvsadm`: ipvsd puts back what it changes at the services of this file. One-packet scheduling is `ops`";
            notes.noted(script.place, keyword, said);
        }
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

    /// What a script edits if it only switches one-packet scheduling on: `ipvsadm -E -u VIP:PORT --ops`, or a file of such
    /// lines. The services must be of this file, and `server` among them.
    pub fn ops(&self, script: &Script, server: &VirtualServer) -> Option<Edit> {
        let edits = self.edits(script)?;
        let known = |edit: &Edit| self.is_of(edit.edited, server) || self.targets.contains(&edit.edited);
        edits.iter().all(known).then_some(())?;
        edits.into_iter().find(|edit| self.is_of(edit.edited, server))
    }

    fn edits(&self, script: &Script) -> Option<Vec<Edit>> {
        let words = script.arguments()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match self.text(&words) {
            Some(text) => workaround::of_text(&text),
            None => workaround::of_words(&words).map(|edit| vec![edit]),
        }
    }

    /// The text of the shell script that a command runs.
    fn text(&self, words: &[&str]) -> Option<String> {
        let shell = words.first().is_some_and(|word| ["sh", "bash"].contains(&workaround::program(word)));
        if let (true, ["-c", line, ..]) = (shell, words.get(1..).unwrap_or_default()) {
            return Some((*line).to_owned());
        }
        let file = if shell { words.get(1) } else { words.first() };
        let path = file.filter(|path| path.starts_with('/'))?;
        let text = self.outside.read(Path::new(path)).ok().filter(|text| text.len() <= MOST)?;
        String::from_utf8(text).ok().filter(|text| shell || text.starts_with("#!"))
    }

    /// Whether a script has to do with the table that ipvsd drives.
    fn calls_ipvsadm(&self, script: &Script) -> bool {
        let has = |text: &str| text.contains("ipvsadm");
        let words = script.arguments().unwrap_or_default();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        has(&script.command) || self.text(&words).is_some_and(|text| has(&text))
    }

    fn is_of(&self, edited: Edited, server: &VirtualServer) -> bool {
        match &server.target {
            Target::Fwmark(mark) => edited == Edited::Mark(*mark),
            _ if !is_udp(server) => false,
            Target::Address(ip, port) => edited == Edited::Address(SocketAddr::new(*ip, *port)),
            Target::Group(name) => {
                let groups = self.lvs.groups.iter().filter(|group| group.name.value == *name);
                groups.flat_map(|group| &group.members).any(|member| match (member.value, edited) {
                    (Member::Addresses { first, last, port }, Edited::Address(vip)) => {
                        (first..=last).contains(&vip.ip()) && port == vip.port()
                    }
                    (Member::Fwmark { mark, .. }, Edited::Mark(edited)) => mark == edited,
                    _ => false,
                })
            }
        }
    }
}

fn is_udp(server: &VirtualServer) -> bool {
    server.protocol.as_ref().is_none_or(|protocol| protocol.value == Protocol::Udp)
}
