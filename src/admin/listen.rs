//! Where the admin sockets come from: systemd gives them, or the daemon makes them.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::unistd::{Group, chown};
use tokio::net::UnixListener;

use super::Access;

/// An open socket, and its file if the daemon made it.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    pub(super) access: Access,
    pub(super) made: Option<PathBuf>,
}

impl Listener {
    /// What it is for.
    pub fn access(&self) -> Access {
        self.access
    }
}

/// The sockets that systemd gives: those with the name of an [`Access`] (`FileDescriptorName=` of the socket unit).
///
/// # Errors
/// One is no listening Unix socket.
pub fn given() -> io::Result<Vec<Listener>> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = ListenFd::from_env();
    let mut given = Vec::new();
    for (place, name) in names.split(':').enumerate().take(sockets.len()) {
        let Some(access) = [Access::Read, Access::Control].into_iter().find(|access| access.name() == name)
        else {
            tracing::warn!(
                name,
                "a socket that systemd gives is not used: the names are `read` and `control`"
            );
            continue;
        };
        if let Some(socket) = sockets.take_unix_listener(place)? {
            socket.set_nonblocking(true)?;
            given.push(Listener { socket: UnixListener::from_std(socket)?, access, made: None });
        }
    }
    Ok(given)
}

/// Makes the socket `path`: mode 0660, with the group of `access` if the machine has it. Its directory is made if need be, and the
/// file of a dead daemon is replaced.
///
/// # Errors
/// The file or its directory cannot be made, or another program listens there.
pub fn make(path: PathBuf, access: Access) -> io::Result<Listener> {
    let directory = path.parent().unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if UnixStream::connect(&path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there; an ipvsd in another network namespace needs another $RUNTIME_DIRECTORY",
        ));
    }
    // It appears under its name with its mode, and in place of an old one.
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&new)?;
    let group = access.group();
    if let Ok(Some(Group { gid, .. })) = Group::from_name(&group)
        && let Err(error) = chown(&new, None, Some(gid))
    {
        tracing::warn!(socket = %path.display(), group, %error, "the admin socket is not its group's; is the daemon's user in it?");
    }
    fs::set_permissions(&new, Permissions::from_mode(0o660))?;
    fs::rename(&new, &path)?;
    Ok(Listener { socket, access, made: Some(path) })
}
