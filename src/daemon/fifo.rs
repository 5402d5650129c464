//! `[notify]`: the FIFO to which a line is written for each verdict of a server and each turn of a quorum, in keepalived's words,
//! and the command that reads it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipvs_netlink::{Protocol, ServiceKey};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::task::JoinHandle;

use crate::command::{Privileges, Runner};
use crate::core::Turned;
use crate::core::model::{Command, Notify};

/// From the end of the reader to its next start: the first time, and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The FIFO that the config names, if it does and it could be opened.
#[derive(Default)]
pub struct Fifo(Option<Open>);

struct Open {
    settings: Notify,
    file: File,
    /// It was not there before.
    made: bool,
    /// It takes no more lines, which was said.
    full: bool,
    reader: Option<JoinHandle<()>>,
}

impl Fifo {
    /// Writes there from now on, or nowhere. Where that is not possible it is said: datagrams are forwarded without it.
    pub fn follow(&mut self, settings: Option<&Notify>) {
        if self.0.as_ref().map(|open| &open.settings) == settings {
            return;
        }
        self.0 = None;
        let Some(settings) = settings else { return };
        match open(&settings.fifo) {
            Ok((file, made)) => {
                let command = (!settings.command.is_empty()).then(|| settings.command.iter().cloned());
                let reader = command.map(|words| {
                    let argv = words.chain([settings.fifo.clone()]).collect();
                    tokio::spawn(read(Command { argv, timeout: Duration::MAX, network: false, user: None }))
                });
                self.0 = Some(Open { settings: settings.clone(), file, made, full: false, reader });
            }
            Err(error) => {
                let fifo = &settings.fifo;
                tracing::error!(fifo, %error, "nobody is notified: cannot open the FIFO; a reload tries again");
            }
        }
    }

    /// Writes the line of this news. It never waits: a FIFO that nobody empties takes 64 KiB.
    pub fn tell(&mut self, news: &Turned) {
        let Some(open) = &mut self.0 else { return };
        let fifo = &open.settings.fifo;
        // In one piece, or not at all: a line is far below PIPE_BUF.
        match open.file.write(line(news).as_bytes()) {
            Ok(_) => open.full = false,
            Err(error) if !std::mem::replace(&mut open.full, true) => {
                tracing::error!(fifo, %error, "lines to the FIFO are lost: does nobody read it?");
            }
            Err(_) => {}
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
        if self.made
            && let Err(error) = fs::remove_file(&self.settings.fifo)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(fifo = self.settings.fifo, %error, "cannot remove the FIFO");
        }
    }
}

/// Opens the FIFO, and makes it first where there is none: readable by the daemon's user alone, as keepalived does. True: it was made.
///
/// The daemon holds its other end, too, so that lines wait for a reader that is about to come.
fn open(path: &str) -> io::Result<(File, bool)> {
    let made = match mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) => true,
        Err(nix::Error::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = File::options().read(true).write(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is there and no FIFO"));
    }
    Ok((file, made))
}

/// Keeps the reader running. It ends, with all that it has started, when this is dropped.
async fn read(command: Command) {
    let command = Arc::new(command);
    let runner = match Runner::start(Privileges::None, 1) {
        Ok(runner) => runner,
        Err(error) => return tracing::error!(%error, "the reader of the FIFO cannot be run"),
    };
    let mut wait = FIRST_WAIT;
    loop {
        let start = Instant::now();
        let outcome = runner.run(Arc::clone(&command), Vec::new()).await;
        if start.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        let (said, end) = (String::from_utf8_lossy(&outcome.said), &outcome.end);
        let (said, command) = (said.trim_end(), command.argv.join(" "));
        tracing::error!(command, said, %end, again_in = ?wait, "the reader of the FIFO has ended");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// As keepalived 2.2.7 writes it: `RS [10.0.1.11]:udp:53 [192.0.2.53]:udp:53 DOWN`, `VS FWM 7 UP`.
fn line(news: &Turned) -> String {
    let protocol = match news.key {
        ServiceKey::Address { protocol: Protocol::UDP, .. } => "udp",
        ServiceKey::Address { protocol: Protocol::TCP, .. } => "tcp",
        ServiceKey::Address { protocol: Protocol::SCTP, .. } => "sctp",
        ServiceKey::Address { .. } | ServiceKey::FwMark { .. } => "none",
    };
    let at = |address: std::net::SocketAddr| format!("[{}]:{protocol}:{}", address.ip(), address.port());
    let vip = match news.key {
        ServiceKey::Address { address, .. } => at(address),
        ServiceKey::FwMark { mark, .. } => format!("FWM {mark}"),
    };
    let state = if news.up { "UP" } else { "DOWN" };
    match news.server {
        Some(server) => format!("RS {} {vip} {state}\n", at(server.0)),
        None => format!("VS {vip} {state}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use ipvs_netlink::{DestinationKey, Family};

    use super::*;

    fn news(key: ServiceKey, server: Option<&str>, up: bool) -> Turned {
        Turned { key, server: server.map(|server| DestinationKey(server.parse().unwrap())), up }
    }

    /// What keepalived 2.2.7 wrote for these.
    #[test]
    fn lines_are_those_of_keepalived() {
        let v4 = ServiceKey::udp("192.0.2.1:53".parse().unwrap());
        let v6 = ServiceKey::udp("[2001:db8::1]:53".parse().unwrap());
        let tcp = ServiceKey::Address { protocol: Protocol::TCP, address: "192.0.2.5:80".parse().unwrap() };
        let mark = ServiceKey::FwMark { family: Family::Inet, mark: 7.try_into().unwrap() };
        for (news, wanted) in [
            (news(v4, None, true), "VS [192.0.2.1]:udp:53 UP\n"),
            (news(v4, Some("10.0.0.2:5300"), false), "RS [10.0.0.2]:udp:5300 [192.0.2.1]:udp:53 DOWN\n"),
            (news(v6, Some("[fd00::1]:5300"), true), "RS [fd00::1]:udp:5300 [2001:db8::1]:udp:53 UP\n"),
            (news(tcp, Some("10.0.0.6:80"), false), "RS [10.0.0.6]:tcp:80 [192.0.2.5]:tcp:80 DOWN\n"),
            (news(mark, None, true), "VS FWM 7 UP\n"),
            (news(mark, Some("10.0.0.3:0"), true), "RS [10.0.0.3]:none:0 FWM 7 UP\n"),
        ] {
            assert_eq!(line(&news), wanted);
        }
    }

    #[test]
    fn it_is_made_written_without_waiting_and_removed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let settings = Notify { fifo: path.to_str().unwrap().to_owned(), command: Vec::new() };
        let up = news(ServiceKey::udp("192.0.2.1:53".parse().unwrap()), None, true);
        let mut fifo = Fifo::default();
        fifo.tell(&up);
        fifo.follow(Some(&settings));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Many more than it takes.
        (0..10_000).for_each(|_| fifo.tell(&up));
        assert!(fifo.0.as_ref().unwrap().full);
        let mut reader = File::open(&path).unwrap();
        let mut some = vec![0; 4 * line(&up).len()];
        reader.read_exact(&mut some).unwrap();
        assert_eq!(String::from_utf8(some).unwrap(), line(&up).repeat(4));
        fifo.follow(None);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_there_stays_and_must_be_a_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there");
        let settings = Notify { fifo: path.to_str().unwrap().to_owned(), command: Vec::new() };
        let mut fifo = Fifo::default();
        fs::write(&path, "mine").unwrap();
        fifo.follow(Some(&settings));
        assert!(fifo.0.is_none());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        fifo.follow(Some(&settings));
        assert!(fifo.0.is_some());
        drop(fifo);
        assert!(path.exists());
    }
}
