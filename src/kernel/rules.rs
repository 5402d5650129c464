//! The task that owns the reply rules: looks, and one transaction for each change.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::core::model::Rules;
use crate::core::{FoundRules, Input};
use crate::nft::{Error, Nft};

/// What the task is asked to do.
#[derive(Debug)]
pub enum Work {
    /// Read what the rules hold.
    Look,
    /// Make them hold exactly this.
    Do(Rules),
}

/// Works until the other end of `work` is dropped.
pub async fn run(nft: Nft, mut work: UnboundedReceiver<Work>, inputs: UnboundedSender<Input>) {
    while let Some(work) = work.recv().await {
        let input = match work {
            Work::Look => Input::FoundRules(match nft.observe().await {
                Ok(listing) => Ok(FoundRules { rules: listing.rules(), damage: listing.damage() }),
                // Without nft there is nothing of ours; where rules are needed, the change says what is missing.
                Err(Error::NotInstalled { .. }) => Ok(FoundRules::default()),
                Err(error) => Err(error.to_string()),
            }),
            Work::Do(rules) => Input::RulesDone(match nft.apply(&rules).await {
                Ok(_) => Ok(rules),
                Err(error) => Err(error.to_string()),
            }),
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}
