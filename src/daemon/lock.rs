//! One ipvsd in a network namespace: two would undo each other's work.
//!
//! The lock is a listening socket with an abstract Unix address. Such names belong to the network namespace, as IPVS
//! does, and vanish with the process, however it ends. Nobody ever answers on it: it says who holds it.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Refusal;

const NAME: &str = "ipvsd";

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _socket: UnixListener,
}

/// Takes the lock of this network namespace.
///
/// # Errors
/// Another process has it; which one, and what to do.
pub fn take() -> Result<Lock, Refusal> {
    take_named(NAME)
}

fn take_named(name: &str) -> Result<Lock, Refusal> {
    let address = SocketAddr::from_abstract_name(name).map_err(Refusal::io("name the lock"))?;
    match UnixListener::bind_addr(&address) {
        Ok(socket) => Ok(Lock { _socket: socket }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Refusal::new(format!(
            "ipvsd runs already in this network namespace ({}); end that one first, or let it read its config \
             again: `ipvsd reload`",
            holder(name).map_or_else(
                |error| format!("which process is not known: {error}"),
                |holder| describe(&holder)
            )
        ))),
        Err(error) => Err(Refusal::io("take the lock of this network namespace")(error)),
    }
}

/// Whether an ipvsd runs in this network namespace.
pub fn held() -> bool {
    holder(NAME).is_ok()
}

/// Who holds the lock. The kernel noted it when the socket began to listen.
fn holder(name: &str) -> io::Result<UnixCredentials> {
    // Connections are never accepted, and a full queue of them must not hold up the refusal.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?)
}

fn describe(holder: &UnixCredentials) -> String {
    let (pid, uid) = (holder.pid(), holder.uid());
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command: Vec<_> =
        command.split(|byte| *byte == 0).map(|word| word.escape_ascii().to_string()).collect();
    format!("process {pid} of user {uid}: {}", command.join(" ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_is_first_until_that_one_ends() {
        let name = format!("ipvsd-test-{}", std::process::id());
        let lock = take_named(&name).unwrap();
        let program = std::env::args().next().unwrap();
        // More often than connections queue up.
        for attempt in 0..5000 {
            let said = take_named(&name).unwrap_err().to_string();
            assert!(said.starts_with("ipvsd runs already in this network namespace"), "{said}");
            assert!(said.contains("`ipvsd reload`"), "{said}");
            if attempt == 0 {
                assert!(said.contains(&format!("process {} of user ", std::process::id())), "{said}");
                assert!(said.contains(&program), "{said}");
            }
        }
        drop(lock);
        take_named(&name).unwrap();
    }
}
