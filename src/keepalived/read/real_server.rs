//! `real_server`: its header and its own keywords.

use std::net::IpAddr;

use super::Reading;
use super::check::CheckDraft;
use super::virtual_server::ServerDraft;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{Family, Method, Script, Target, Timers};
use crate::keepalived::place::{At, Place};
use crate::keepalived::tree::Statement;

/// A real server as it is written.
#[derive(Debug)]
pub struct RealDraft {
    pub place: Place,
    pub address: IpAddr,
    /// The virtual server's, if it gives none.
    pub port: u16,
    pub has_port: bool,
    pub weight: Option<At<u32>>,
    pub method: Option<At<Method>>,
    pub upper: Option<At<u32>>,
    pub lower: Option<At<u32>>,
    pub inhibit: Option<At<bool>>,
    pub alpha: Option<At<bool>>,
    pub notify_up: Option<Script>,
    pub notify_down: Option<Script>,
    pub virtualhost: Option<At<String>>,
    pub timers: Timers,
    pub checks: Vec<CheckDraft>,
}

impl Reading<'_> {
    /// None if its address is none: then keepalived does not look into its block.
    pub fn real_server(
        &mut self,
        server: &ServerDraft,
        statement: &Statement,
        block: &[Statement],
    ) -> Option<RealDraft> {
        self.argument(statement)?;
        let (address, port) = self.endpoint(&statement.words[1..], "the real server")?;
        let inherited = match server.target {
            Target::Address(_, port) => port,
            Target::Fwmark(_) | Target::Group(_) => 0,
        };
        let mut real = RealDraft {
            place: statement.place(),
            address,
            port: port.unwrap_or(inherited),
            has_port: port.is_some(),
            weight: None,
            method: None,
            upper: None,
            lower: None,
            inhibit: None,
            alpha: None,
            notify_up: None,
            notify_down: None,
            virtualhost: None,
            timers: Timers::default(),
            checks: Vec::new(),
        };
        self.each(Block::RealServer, block, |reading, name, statement| {
            reading.real_keyword(&mut real, name, statement)
        });
        Some(real)
    }

    fn real_keyword(&mut self, real: &mut RealDraft, name: &str, statement: &Statement) {
        match name {
            "weight" => real.weight = self.number(statement, 0..=i32::MAX.into()).or(real.weight),
            "lvs_method" => real.method = self.method(statement).or(real.method),
            "uthreshold" => real.upper = self.number(statement, 0..=u32::MAX.into()).or(real.upper),
            "lthreshold" => real.lower = self.number(statement, 0..=u32::MAX.into()).or(real.lower),
            "inhibit_on_failure" => real.inhibit = self.switch(statement).or(real.inhibit),
            "alpha" => real.alpha = self.switch(statement).or(real.alpha),
            "notify_up" => self.script(&mut real.notify_up, statement),
            "notify_down" => self.script(&mut real.notify_down, statement),
            "virtualhost" => real.virtualhost = self.optional_text(statement),
            "snmp_name" => drop(self.optional_text(statement)),
            "smtp_alert" => drop(self.switch(statement)),
            "delay_loop" | "delay_before_retry" | "warmup" | "connect_timeout" | "retry" => {
                self.timers(&mut real.timers, name, statement, 1);
            }
            _ => {
                if let Some(block) = &statement.block {
                    let check = self.check(name, Family::of(real.address), statement, block);
                    real.checks.extend(check);
                }
            }
        }
    }
}
