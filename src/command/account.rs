//! Whom a command runs as.

use caps::{CapSet, Capability};
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

/// A user and a group of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// The group's number: one that was named, else the user's own.
    pub group: u32,
}

impl Account {
    /// Of `nobody`, `nobody:nogroup` or their numbers; none if there is no such user or group. A user whose group is not named is
    /// the daemon's own where the numbers are the same, whatever its group.
    pub fn named(words: &str) -> Option<Self> {
        let (user, group) = words.split_once(':').map_or((words, None), |(user, group)| (user, Some(group)));
        let known = match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(user),
        };
        let known = known.ok()?;
        let user = known.as_ref().map(|known| known.uid.as_raw()).or_else(|| user.parse().ok())?;
        let group = match group {
            Some(group) => {
                group.parse().ok().or_else(|| Some(Group::from_name(group).ok()??.gid.as_raw()))?
            }
            None if user == geteuid().as_raw() => getegid().as_raw(),
            None => known?.gid.as_raw(),
        };
        Some(Self { user, group })
    }

    /// Whether the daemon itself runs so.
    pub fn is_own(self) -> bool {
        Uid::from_raw(self.user) == geteuid() && Gid::from_raw(self.group) == getegid()
    }
}

/// What it takes to run a command as somebody else, and to end it.
pub const CHANGES: [Capability; 3] = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];

/// Whether the daemon may: it is root, and has the capabilities.
pub fn may_change() -> bool {
    let has = |capability| caps::has_cap(None, CapSet::Permitted, capability).unwrap_or(false);
    geteuid().is_root() && CHANGES.into_iter().all(has)
}
