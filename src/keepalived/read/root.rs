//! The root, `global_defs`, `SSL` and `track_file`.

use std::time::Duration;

use super::Reading;
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{Account, Ssl, TrackFile, Value};
use crate::keepalived::place::At;
use crate::keepalived::tree::Statement;

impl Reading<'_> {
    pub fn root(&mut self, statements: &[Statement]) {
        // A check may name an instance that stands further down.
        for statement in statements.iter().filter(|statement| statement.keyword() == "bfd_instance") {
            let name = statement.word(1).map(|word| At { value: word.text.clone(), place: word.place });
            self.lvs.bfd.extend(name);
        }
        let mut servers = Vec::new();
        let mut namespace = None;
        self.each(Block::Root, statements, |reading, name, statement| {
            let block = statement.block.as_deref().unwrap_or_default();
            match name {
                "global_defs" => reading.global(block),
                "virtual_server_group" => reading.group(statement, block),
                "virtual_server" => servers.extend(reading.virtual_server(statement, block)),
                "SSL" => reading.ssl(statement, block),
                "track_file" | "vrrp_track_file" => reading.track_file(statement, block),
                "net_namespace_ipvs" => namespace = reading.text(statement),
                "net_namespace" if namespace.is_none() => namespace = reading.text(statement),
                _ => {}
            }
        });
        self.lvs.global.namespace = namespace;
        self.resolve(servers);
    }

    fn global(&mut self, block: &[Statement]) {
        self.each(Block::GlobalDefs, block, |reading, name, statement| match name {
            "lvs_timeouts" => reading.timeouts(statement),
            "lvs_notify_fifo" | "notify_fifo" => {
                let mut slot = reading.lvs.global.notify_fifo.take();
                reading.script(&mut slot, statement);
                reading.lvs.global.notify_fifo = slot;
            }
            "lvs_notify_fifo_script" | "notify_fifo_script" => {
                let mut slot = reading.lvs.global.notify_fifo_script.take();
                reading.script(&mut slot, statement);
                reading.lvs.global.notify_fifo_script = slot;
            }
            "script_user" => {
                if let Some(user) = reading.text(statement) {
                    let group = statement.word(2).map(|word| word.text.clone());
                    let account = Account { user: user.value, group };
                    reading.lvs.global.script_user = Some(At { value: account, place: user.place });
                }
            }
            "enable_script_security" => reading.lvs.global.script_security = Some(statement.place()),
            "smtp_alert" | "smtp_alert_checker" | "smtp_alert_vrrp" | "checker_log_all_failures" => {
                reading.switch(statement);
            }
            "lvs_flush_on_stop" | "lvs_flush_onstop" => {
                if let Some(word) = statement.word(1).filter(|word| word.text != "VS") {
                    reading.bad(word, &format!("`{name}`"), "VS");
                }
            }
            "smtp_connect_timeout" => {
                reading.number::<u32>(statement, 0..=4_294);
            }
            "router_id" | "lvs_sync_daemon" => {
                reading.optional_argument(statement);
            }
            _ => {}
        });
    }

    fn timeouts(&mut self, statement: &Statement) {
        let mut options = statement.words[1..].iter().peekable();
        let mut some = false;
        while let Some(option) = options.next() {
            if !matches!(option.text.as_str(), "tcp" | "tcpfin" | "udp") {
                self.bad(option, "an option of `lvs_timeouts`", "tcp, tcpfin or udp");
                some = true;
                continue;
            }
            let Some(word) = options.next() else { break };
            some = true;
            let Some(time) =
                self.number_of::<u32>(word, &format!("lvs_timeouts {}", option.text), 0..=2_678_400)
            else {
                continue;
            };
            let time = Some(time.map(|seconds| Duration::from_secs(seconds.into())));
            let global = &mut self.lvs.global;
            match option.text.as_str() {
                "tcp" => global.tcp_timeout = time,
                "tcpfin" => global.tcp_fin_timeout = time,
                _ => global.udp_timeout = time,
            }
        }
        if !some {
            self.findings.error(
                Rule::BadValue,
                statement.place(),
                "`lvs_timeouts` gives no time, and has no effect",
            );
        }
    }

    fn ssl(&mut self, statement: &Statement, block: &[Statement]) {
        if self.lvs.ssl.is_some() {
            self.findings.error(
                Rule::Incomplete,
                statement.place(),
                "`SSL` stands here for the second time: this one holds",
            );
        }
        let mut ssl = Ssl::default();
        self.each(Block::Ssl, block, |reading, name, statement| {
            let value = reading.optional_text(statement);
            match name {
                "password" => ssl.password = value,
                "ca" => ssl.ca = value,
                "certificate" => ssl.certificate = value,
                _ => ssl.key = value,
            }
        });
        self.lvs.ssl = Some(ssl);
    }

    fn track_file(&mut self, statement: &Statement, block: &[Statement]) {
        let Some(name) = self.text(statement) else { return };
        let (mut path, mut weight) = (None, Value::default(1));
        self.each(Block::TrackFile, block, |reading, keyword, statement| match keyword {
            "file" => path = reading.text(statement),
            "weight" => {
                if let Some(given) = reading.signed_weight(statement, 254) {
                    weight = given.into();
                }
            }
            _ => {}
        });
        match path {
            Some(path) => self.lvs.track_files.push(TrackFile { name, path, weight }),
            None => {
                let message = format!("track_file `{}` names no `file`, and is ignored", name.value);
                self.findings.error(Rule::Incomplete, statement.place(), message);
            }
        }
    }

    /// A weight to multiply with, perhaps reversed.
    pub fn signed_weight(&mut self, statement: &Statement, most: i64) -> Option<At<i64>> {
        let weight = self.number::<i64>(statement, -most..=most)?;
        match statement.word(2) {
            Some(word) if word.text == "reverse" => return Some(weight.map(|weight| -weight)),
            Some(word) if word.text != "noreverse" => {
                self.bad(word, "the option of `weight`", "reverse or noreverse")
            }
            _ => {}
        }
        Some(weight)
    }
}
