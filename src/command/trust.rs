//! Whom the daemon believes: a file that anybody else may change is not the operator's word.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It, or a directory above it, cannot be looked at.
    #[error("cannot look at {}: {source}", .path.display())]
    Unseen {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It, or a directory above it, is in other hands.
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

/// Whether nobody but root and `user` can change what `path` is: the file, its directory, and those above it. In a sticky
/// directory, such as `/tmp`, others can add files and cannot change those of others.
pub fn trusted(path: &Path, user: u32) -> Result<(), Untrusted> {
    let unseen = |path: &Path| {
        let path = path.to_owned();
        move |source| Untrusted::Unseen { path, source }
    };
    let real = path.canonicalize().map_err(unseen(path))?;
    for path in real.ancestors() {
        let found = path.metadata().map_err(unseen(path))?;
        let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        let whose = if found.uid() != 0 && found.uid() != user {
            Whose::User(found.uid())
        } else if found.mode() & 0o022 != 0 && !sticky {
            Whose::Mode(found.mode())
        } else {
            continue;
        };
        return Err(Untrusted::Others { path: path.to_owned(), whose });
    }
    Ok(())
}
