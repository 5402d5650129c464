//! keepalived.conf → ipvsd.toml: the LVS half as a person would have written it, and what there is to say about it.
//!
//! ```text
//! Lvs ── service, check, listen, script ──> Document ── shared ──> Document ── write ──> Written: TOML, origins
//!  └────────────────────────────────────────────────────────────────────────> Notes
//! ```
//! What the file says holds. What it leaves to keepalived's defaults is ipvsd's own default where that is safe, and a note says so.
//! Whether the result is a valid config is for `config` to judge; the origins lead from its errors back to the file.

mod check;
mod document;
mod listen;
mod note;
mod script;
mod server;
mod service;
mod shared;
#[cfg(test)]
mod tests;
mod workaround;

use rustc_hash::{FxHashMap, FxHashSet};

pub use document::Written;
pub use note::Note;

use self::document::{Document, Item, Table};
use self::note::Notes;
use self::script::Scripts;
use super::File;
use super::model::{Lvs, VirtualServer};
use super::outside::Outside;

/// What a keepalived.conf means.
#[derive(Clone, Debug)]
pub struct Translation {
    /// As ipvsd.toml.
    pub written: Written,
    /// By place.
    pub notes: Vec<Note>,
}

/// Translates a file. Nothing fails: what cannot be taken has its note.
pub fn translate(file: &File, outside: &dyn Outside) -> Translation {
    let lvs = &file.lvs;
    let scripts = Scripts::new(outside, lvs);
    let mut notes = Notes::of(&lvs.keywords);
    let mut document = Document { tables: tables(&scripts, &mut notes), services: Vec::new() };
    first_verdicts(lvs, &mut notes);
    let mut names = Names::new(&lvs.virtual_servers);
    for server in &lvs.virtual_servers {
        let mut service = service::service(server, &scripts, &mut notes);
        let name = Item::new(names.of(server), server.place);
        service.keys.0.insert(0, ("name", name));
        document.services.push(service);
    }
    shared::defaults(&mut document);
    Translation { written: document.write(&file.sources), notes: notes.sorted() }
}

/// Who is told of a server that is up from the start.
fn first_verdicts(lvs: &Lvs, notes: &mut Notes) {
    if lvs.keywords.iter().any(|keyword| keyword.value.name == "rs_init_notifies") {
        return;
    }
    let fifo = lvs.global.notify_fifo.is_some();
    let servers = lvs.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let told = servers
        .filter(|real| (fifo || real.notify_up.is_some()) && !real.alpha.value && !real.checks.is_empty());
    for real in told {
        let said = "not given, and holds all the same: `notify_up` and the FIFO are told of a server's first verdict, too; with \
                    keepalived it is up before that, and nobody is told";
        notes.noted(real.place, "rs_init_notifies", said);
    }
}

/// `[kernel]` and `[notify]`.
fn tables(scripts: &Scripts<'_>, notes: &mut Notes) -> Vec<(&'static str, Table)> {
    let global = &scripts.lvs.global;
    let mut timeouts = Table::default();
    for (key, time) in
        [("tcp", &global.tcp_timeout), ("tcp_fin", &global.tcp_fin_timeout), ("udp", &global.udp_timeout)]
    {
        if let Some(time) = time {
            timeouts.set(key, check::duration(time.value), time.place);
        }
    }
    let mut kernel = Table::default();
    if !timeouts.0.is_empty() {
        kernel.set("timeouts", timeouts, None);
    }
    let mut notify = Table::default();
    if let Some(fifo) = &global.notify_fifo {
        notify.set("fifo", fifo.command.as_str(), fifo.place);
    }
    if let Some(script) = &global.notify_fifo_script
        && let Some(words) = scripts.words(script, "lvs_notify_fifo_script", notes)
    {
        notify.set("command", words, script.place);
    }
    [("kernel", kernel), ("notify", notify)].into_iter().filter(|(_, table)| !table.0.is_empty()).collect()
}

/// Names that tell services apart.
struct Names {
    bases: FxHashMap<String, usize>,
    given: FxHashSet<String>,
}

impl Names {
    fn new(servers: &[VirtualServer]) -> Self {
        let mut bases = FxHashMap::default();
        for server in servers {
            *bases.entry(service::base(server)).or_default() += 1;
        }
        Self { bases, given: FxHashSet::default() }
    }

    fn of(&mut self, server: &VirtualServer) -> String {
        let name = service::name(server, self.bases[&service::base(server)] == 1);
        let name = name.replace(char::is_control, "?");
        // A group or a label may have several virtual servers: of UDP and TCP, say.
        let mut free = name.clone();
        for number in 2.. {
            if self.given.insert(free.clone()) {
                break;
            }
            free = format!("{name}-{number}");
        }
        free
    }
}
