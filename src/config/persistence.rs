//! `persistence`: for how long a client stays with a server, and who counts as one client.

use std::time::Duration;

use super::draft::{Field, PersistenceDraft};
use super::report::Problems;
use crate::core::model::Persistence;

/// The longest that keepalived and `ipvsadm` take.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
const TIMEOUT: Duration = Duration::from_secs(300);

/// What the draft says; none if there is an error.
pub fn judge(draft: &Field<PersistenceDraft>, problems: &mut Problems) -> Option<Option<Persistence>> {
    let draft = match draft {
        Field::Missing => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => &at.value,
    };
    let timeout = match &draft.timeout {
        Field::Missing => Some(TIMEOUT),
        Field::Broken => None,
        Field::Given(at) if at.value.subsec_nanos() != 0 || at.value.is_zero() || at.value > LONGEST => {
            problems
                .error(at.place, "the time of `persistence` must be whole seconds, 1 s to 31 days")
                .help("the kernel counts it in seconds");
            None
        }
        Field::Given(at) => Some(at.value),
    };
    let prefix_v4 = prefix(&draft.prefix_v4, "`prefix_v4`", 0, 32, problems);
    let prefix_v6 = prefix(&draft.prefix_v6, "`prefix_v6`", 1, 128, problems);
    let engine = match &draft.engine {
        Field::Missing => Some(None),
        Field::Broken => None,
        Field::Given(at) => {
            let engine = at.value.parse().ok();
            if engine.is_none() {
                problems
                    .error(at.place, format!("`{}` is no persistence engine", at.value))
                    .help("the kernel has one, `sip`");
            }
            engine.map(Some)
        }
    };
    Some(Some(Persistence {
        timeout: timeout?,
        prefix_v4: prefix_v4?,
        prefix_v6: prefix_v6?,
        engine: engine?,
    }))
}

fn prefix(field: &Field<i64>, what: &str, least: u8, most: u8, problems: &mut Problems) -> Option<u8> {
    match field {
        Field::Missing => Some(most),
        Field::Broken => None,
        Field::Given(at) => at.within(what, least..=most, problems),
    }
}
