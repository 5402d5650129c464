//! Reading and writing `/proc/sys/net` of the daemon's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The value of a key such as `net.ipv4.vs.conntrack`; none if this kernel has no such key.
///
/// # Errors
/// The read failed for another reason.
pub fn get(key: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a key; in its own network namespace CAP_NET_ADMIN is enough.
///
/// # Errors
/// The write failed.
pub fn set(key: &str, value: &str) -> io::Result<()> {
    fs::write(path(key), value)
}

/// `net.ipv4.conf.eth0.rp_filter` → `/proc/sys/net/ipv4/conf/eth0/rp_filter`. As in sysctl(8), a `/` in the
/// key stands for a dot in an interface's name.
fn path(key: &str) -> PathBuf {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    PathBuf::from("/proc/sys").join(key.chars().map(swap).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_and_an_interface_keeps_its_dot() {
        assert_eq!(
            path("net.ipv4.conf.eth0/5.rp_filter").to_str(),
            Some("/proc/sys/net/ipv4/conf/eth0.5/rp_filter")
        );
    }

    #[test]
    fn a_key_that_is_not_there_is_none() {
        assert_eq!(get("net.ipv4.no_such_key").unwrap(), None);
        assert!(get("net.ipv4.ip_forward").unwrap().is_some());
    }
}
