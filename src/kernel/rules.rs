//! The task that owns the reply rules: looks, and one transaction for each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::core::model::Rules;
use crate::core::{FoundRules, Input};
use crate::nft::{Error, Listing, Nft};

/// What the task is asked to do.
#[derive(Debug)]
pub enum Work {
    /// Read what the rules hold.
    Look,
    /// Make them hold exactly this.
    Do(Arc<Rules>),
}

/// So long a listing is good for a change: the one that it was made for. Each `nft` costs more than all else here.
const FRESH: Duration = Duration::from_secs(1);

struct Keeper {
    nft: Nft,
    /// What was listed last, and when; none after a change.
    listed: Option<(Instant, Listing)>,
    /// What was set last. A listing that shows nothing else is not read or kept: that takes megabytes.
    made: Option<Arc<Rules>>,
    /// `nft` has been there.
    installed: bool,
}

/// Works until the other end of `work` is dropped. Looks that are asked for one after the other are one.
pub async fn run(nft: Nft, mut work: UnboundedReceiver<Work>, inputs: UnboundedSender<Input>) {
    let mut keeper = Keeper { nft, listed: None, made: None, installed: false };
    let mut next = work.recv().await;
    while let Some(now) = next.take() {
        if matches!(now, Work::Look) {
            while let Ok(more) = work.try_recv() {
                if matches!(more, Work::Do(_)) {
                    next = Some(more);
                    break;
                }
            }
        }
        let input = match now {
            Work::Look => Input::FoundRules(keeper.look().await.map_err(|error| error.to_string())),
            Work::Do(rules) => Input::RulesDone(match keeper.change(&rules).await {
                Ok(_) => {
                    keeper.made = Some(Arc::clone(&rules));
                    Ok(rules)
                }
                Err(error) => Err(error.to_string()),
            }),
        };
        if inputs.send(input).is_err() {
            return;
        }
        if next.is_none() {
            // A listing of many servers takes megabytes.
            next = match tokio::time::timeout(FRESH, work.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    keeper.listed = None;
                    work.recv().await
                }
            };
        }
    }
}

impl Keeper {
    async fn look(&mut self) -> Result<FoundRules, Error> {
        self.listed = None;
        match self.nft.observe().await {
            Ok(listing) => {
                self.installed = true;
                if let Some(made) = self.made.as_ref().filter(|made| listing.holds(made)) {
                    drop(listing);
                    return Ok(FoundRules { rules: Arc::clone(made), damage: Vec::new() });
                }
                let rules = Arc::new(listing.rules());
                let damage = listing.damage(&rules);
                self.listed = Some((Instant::now(), listing));
                Ok(FoundRules { rules, damage })
            }
            // Where there never was an nft there is nothing of ours; if rules are needed, the change says what is missing.
            Err(Error::NotInstalled { .. }) if !self.installed => Ok(FoundRules::default()),
            Err(error) => Err(error),
        }
    }

    async fn change(&mut self, rules: &Rules) -> Result<bool, Error> {
        match self.listed.take() {
            Some((at, listing)) if at.elapsed() < FRESH => self.nft.apply_to(&listing, rules).await,
            _ => self.nft.apply(rules).await,
        }
    }
}
