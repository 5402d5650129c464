//! The state file: what must be known after a crash. Written whole beside itself and renamed, readable by nobody else.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::socket::{GetSockOpt, sockopt::GetStruct};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::core::memory::Memory;

/// A file of another version is not read: what it means is not known.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// The cookie of its network namespace; none where the kernel gives none, before Linux 5.14.
    #[serde(default)]
    namespace: Option<u64>,
    memory: Memory,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// `SO_NETNS_COOKIE` (`asm/socket.h`): the number of a socket's network namespace, which no other gets until the next boot.
#[derive(Clone, Copy, Debug)]
struct NetnsCookie;

nix::getsockopt_impl!(NetnsCookie, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64, GetStruct<u64>);

/// The state file of this network namespace.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    namespace: Option<u64>,
}

impl StateFile {
    /// In the runtime directory `dir`, by the number of the network namespace: each has its own IPVS. The kernel gives the
    /// number of one that is gone to another, so the file says by a cookie whose it is.
    ///
    /// # Errors
    /// `/proc` tells no number, or there is no socket.
    pub fn of_this_namespace(dir: &Path) -> io::Result<Self> {
        let number = fs::metadata("/proc/thread-self/ns/net")?.ino();
        let namespace = NetnsCookie.get(&Socket::new(Domain::UNIX, Type::DGRAM, None)?).ok();
        Ok(Self { path: dir.join(format!("state-{number}.json")), namespace })
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was remembered; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours, or is of another namespace.
    pub fn read(&self) -> io::Result<Option<Memory>> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let Versioned { version } = serde_json::from_slice(&text)?;
        if version != VERSION {
            let what = format!("it has version {version}, this ipvsd knows version {VERSION}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let Contents { namespace, memory, .. } = serde_json::from_slice(&text)?;
        if namespace != self.namespace {
            let what = "it is of another network namespace, which had the same number";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Some(memory))
    }

    /// Remembers this. After a crash at any moment the file holds the old memory or the new one. It belongs to whom its directory
    /// belongs: what root has written (`ipvsd flush`), a daemon with a user of its own must be able to read.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, memory: &Memory) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let new = self.path.with_extension("json.new");
        let contents = Contents { version: VERSION, namespace: self.namespace, memory: memory.clone() };
        // Root follows no link that the owner of the directory has put there.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        let owner = fs::metadata(dir)?;
        if nix::unistd::geteuid().is_root() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::of_this_namespace(&dir.path().join("ipvsd")).unwrap();
        assert_eq!(file.read().unwrap(), None);
        let mut memory = Memory::default();
        memory.sysctls.insert("net.ipv4.vs.expire_nodest_conn".to_owned(), "0".to_owned());
        memory.created.insert(ipvs_netlink::ServiceKey::udp("192.0.2.53:53".parse().unwrap()));
        file.write(&memory).unwrap();
        assert_eq!(file.read().unwrap(), Some(memory));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn it_belongs_to_the_owner_of_its_directory_and_no_link_is_followed() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4242), Some(4243)).unwrap();
        let file = StateFile::of_this_namespace(dir.path()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), file.path().with_extension("json.new")).unwrap();
        file.write(&Memory::default()).unwrap();
        let found = fs::symlink_metadata(file.path()).unwrap();
        assert!(found.is_file());
        assert_eq!((found.uid(), found.gid()), (4242, 4243));
        assert_eq!(fs::metadata(elsewhere.path()).unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::of_this_namespace(dir.path()).unwrap();
        for text in
            ["", "{", "[]", r#"{"version":1}"#, r#"{"version":2,"memory":{"created":[],"sysctls":{}}}"#]
        {
            fs::write(file.path(), text).unwrap();
            assert!(file.read().is_err(), "{text}");
        }
    }

    #[test]
    fn what_another_namespace_left_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::of_this_namespace(dir.path()).unwrap();
        assert!(file.namespace.is_some(), "the kernel of the tests gives cookies");
        let gone = StateFile { namespace: file.namespace.map(|cookie| cookie + 1), path: file.path.clone() };
        gone.write(&Memory::default()).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("another network namespace"));
        file.write(&Memory::default()).unwrap();
        assert_eq!(file.read().unwrap(), Some(Memory::default()));
    }
}
