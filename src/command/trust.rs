//! Whom the daemon believes: a file that anybody else may change is not the operator's word.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It, or a directory or link on the way to it, cannot be looked at.
    #[error("cannot look at {}: {source}", .path.display())]
    Unseen {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It, or a directory or link on the way to it, is in other hands.
    #[error("{} {whose}; it must belong to root or to the daemon's user, and nobody else may write it", .path.display())]
    Others {
        /// What.
        path: PathBuf,
        /// In whose.
        whose: Whose,
    },
}

/// Who may change a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Whose {
    /// It belongs to this user.
    User(u32),
    /// Its mode lets others write it.
    Mode(u32),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "belongs to user {user}"),
            Self::Mode(mode) => write!(f, "may be written by others (mode {:o})", mode & 0o7777),
        }
    }
}

/// Whether nobody but root and `user` can change what `path` is: the file, its directory, and those above it; the same of each
/// link on the way there. In a sticky directory, such as `/tmp`, others can add files and cannot change those of others.
pub fn trusted(path: &Path, user: u32) -> Result<(), Untrusted> {
    let whole = std::path::absolute(path).map_err(unseen(path))?;
    // From here on, links lead somewhere.
    whole.canonicalize().map_err(unseen(path))?;
    walk(&whole, user).map(|_| ())
}

/// Goes down a whole path; gives where it ends, without links.
fn walk(path: &Path, user: u32) -> Result<PathBuf, Untrusted> {
    let mut at = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            at.pop();
            continue;
        }
        at.push(component);
        let found = at.symlink_metadata().map_err(unseen(&at))?;
        let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        let whose = if found.uid() != 0 && found.uid() != user {
            Whose::User(found.uid())
        } else if found.mode() & 0o022 != 0 && !sticky && !found.is_symlink() {
            Whose::Mode(found.mode())
        } else {
            if found.is_symlink() {
                let target = at.read_link().map_err(unseen(&at))?;
                at.pop();
                at = walk(&at.join(target), user)?;
            }
            continue;
        };
        return Err(Untrusted::Others { path: at, whose });
    }
    Ok(at)
}

fn unseen(path: &Path) -> impl FnOnce(io::Error) -> Untrusted {
    let path = path.to_owned();
    move |source| Untrusted::Unseen { path, source }
}
