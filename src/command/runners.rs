//! A runner for each kind of command, started when the first one needs it: most configs have none.

use std::io;

use tokio::sync::OnceCell;

use super::{Account, Privileges, Runner};
use crate::core::model::Command;

/// The runners.
#[derive(Debug)]
pub struct Runners {
    at_once: usize,
    unprivileged: OnceCell<Runner>,
    network: OnceCell<Runner>,
    others: OnceCell<Runner>,
}

impl Runners {
    /// Each runs so many commands at a time.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, unprivileged: OnceCell::new(), network: OnceCell::new(), others: OnceCell::new() }
    }

    /// The one for this command.
    ///
    /// # Errors
    /// [`Runner::start`].
    pub async fn of(&self, command: &Command) -> io::Result<&Runner> {
        let own = |user: &String| Account::named(user).is_some_and(Account::is_own);
        let (runner, privileges) = match &command.user {
            Some(user) if !own(user) => (&self.others, Privileges::Others),
            _ if command.network => (&self.network, Privileges::Network),
            _ => (&self.unprivileged, Privileges::None),
        };
        runner.get_or_try_init(async || Runner::start(privileges, self.at_once)).await
    }
}
