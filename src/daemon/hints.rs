//! Who listens to the refusals of servers, and where.

use tokio::task::JoinHandle;

use crate::core::model::Refusals;
use crate::health::Hints;
use crate::kernel::hints;

/// Hands what the kernel logs about servers to the checker, and the group that it listens to.
#[derive(Default)]
pub struct Listener(Option<(u16, JoinHandle<()>)>);

impl Listener {
    /// Listens where `refusals` say so from now on. Where that is not possible it is said, and taken out of `refusals`: a rule
    /// that logs may not even be possible then, and the rules for replies must be.
    pub fn follow(&mut self, refusals: &mut Refusals, checker: &Hints) {
        if self.0.as_ref().is_some_and(|(group, task)| Some(*group) == refusals.group && !task.is_finished())
        {
            return;
        }
        if let Some((_, task)) = self.0.take() {
            task.abort();
        }
        let Some(group) = refusals.group else { return };
        match hints::listen(group) {
            Ok(socket) => {
                let checker = checker.clone();
                let task = tokio::spawn(hints::run(socket, move |server| checker.refused(server)));
                self.0 = Some((group, task));
            }
            Err(error) => {
                tracing::warn!(error, "no passive health: servers are only probed");
                refusals.group = None;
            }
        }
    }
}
