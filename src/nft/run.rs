//! Running `nft`: what is there, and one transaction at a time.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::counts;
use super::document::Document;
use super::edit::edit;
use super::listing::Listing;
use super::ruleset::SOURCES;
use super::table::{Family, NAME};
use crate::apart;
use crate::core::model::Rules;
use crate::core::traffic::Count;

/// So long may one `nft` take; 10 000 servers take it well under a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs `nft` in the network namespace of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nft;

/// Why `nft` did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("cannot {tried}: there is no `nft` in PATH; install the package nftables")]
    NotInstalled {
        /// What was asked of it.
        tried: String,
    },
    /// The kernel said EPERM.
    #[error("cannot {tried}: not permitted; run as root or with CAP_NET_ADMIN")]
    NotPermitted {
        /// What was asked of it.
        tried: String,
    },
    /// It took too long, and was ended.
    #[error("cannot {tried}: `nft` was not done after {} s and was ended", LIMIT.as_secs())]
    TimedOut {
        /// What was asked of it.
        tried: String,
    },
    /// The program could not be run.
    #[error("cannot {tried}: running `nft` failed: {error}")]
    Io {
        /// What was asked of it.
        tried: String,
        /// What the system said.
        error: io::Error,
    },
    /// It refused.
    #[error("cannot {tried}: nft says: {said}")]
    Refused {
        /// What was asked of it.
        tried: String,
        /// Its own words, on one line.
        said: String,
    },
    /// They are there again, or were not what makes a listing unreadable.
    #[error(
        "cannot {tried}: `nft` did it, and the listing still shows them or is not JSON; \
         look with `nft list table ip ipvsd` and `nft list table ip6 ipvsd`"
    )]
    Flags {
        /// What was asked of it.
        tried: String,
    },
    /// It printed something that is not JSON.
    #[error(
        "cannot {tried}: what `nft` printed is not JSON ({error}); some versions print too little where a table \
         has flags (dormant, owner)"
    )]
    Unreadable {
        /// What was asked of it.
        tried: String,
        /// What the reader said.
        error: serde_json::Error,
    },
}

impl Nft {
    /// An `nft` found in `PATH`.
    pub fn new() -> Nft {
        Nft
    }

    /// What is there of our tables. One whose listing is not JSON is [damaged](Listing::damage).
    pub async fn observe(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        for family in Family::ALL {
            // -p: the numbers of protocols, not the names that /etc/protocols has for them.
            let arguments = ["-j", "-p", "list", "table", family.word(), NAME];
            match run(&arguments, Vec::new(), format!("list the table {family} {NAME}")).await {
                Ok(printed) => {
                    if let Err(error) = listing.read(family, &printed) {
                        tracing::debug!(target: "ipvsd::nft", %error, "the listing of the table {family} {NAME} is not JSON");
                        listing.unreadable(family);
                    }
                }
                Err(Error::Refused { said, .. }) if said.contains("No such file or directory") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// Makes our tables hold `wanted` and nothing else, in one transaction; says whether there was anything to do.
    /// After an error nothing has changed. Flags of a table are cleared before that, since the kernel refuses both in one, and
    /// maps that nothing uses any more are deleted after it.
    pub async fn apply(&self, wanted: &Rules) -> Result<bool, Error> {
        self.apply_to(&self.observe().await?, wanted).await
    }

    /// The same where `found` was observed a moment ago. If somebody has changed our tables since, nft refuses, or
    /// they hold something else than `wanted`: whoever listens to nftables hears of it.
    pub async fn apply_to(&self, found: &Listing, wanted: &Rules) -> Result<bool, Error> {
        let Some(mut document) = edit(wanted, found) else { return Ok(false) };
        let mut flags = found.has_flags();
        // Flags, what differs, and what that has left behind.
        for _ in 0..3 {
            let more = document.more;
            self.commit(document).await?;
            if !flags && !more {
                break;
            }
            let found = self.observe().await?;
            if flags && found.has_flags() {
                return Err(Error::Flags { tried: format!("clear the flags of the tables {NAME}") });
            }
            flags = false;
            match edit(wanted, &found) {
                None => break,
                Some(next) => document = next,
            }
        }
        Ok(true)
    }

    /// Deletes our tables; says whether there were any.
    pub async fn remove(&self) -> Result<bool, Error> {
        self.apply(&Rules::default()).await
    }

    /// What the elements of the map of replies have counted, by server.
    pub async fn count(&self) -> Result<BTreeMap<SocketAddr, Count>, Error> {
        let mut counted = BTreeMap::new();
        for family in Family::ALL {
            let tried = || format!("list the map {SOURCES} of the table {family} {NAME}");
            match run(&["-j", "list", "map", family.word(), NAME, SOURCES], Vec::new(), tried()).await {
                Ok(printed) => counted.extend(
                    counts::read(&printed).map_err(|error| Error::Unreadable { tried: tried(), error })?,
                ),
                // There need be none of this family, or at all.
                Err(Error::Refused { said, .. }) if said.contains("No such file or directory") => {}
                Err(Error::NotInstalled { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(counted)
    }

    /// All tables of everyone, for [`firewall`](super::firewall).
    pub async fn ruleset_json(&self) -> Result<Value, Error> {
        let tried = || "list the nftables ruleset".to_owned();
        let printed = run(&["-j", "-p", "list", "ruleset"], Vec::new(), tried()).await?;
        serde_json::from_slice(&printed).map_err(|error| Error::Unreadable { tried: tried(), error })
    }

    async fn commit(&self, document: Document) -> Result<(), Error> {
        for change in document.changes() {
            tracing::debug!(target: "ipvsd::nft", "{change}");
        }
        let tried = match document.changes() {
            [change] => format!("change nftables ({change})"),
            changes => format!("change nftables ({} changes of the tables {NAME})", changes.len()),
        };
        run(&["-j", "-f", "-"], document.into_text(), tried).await.map(|_| ())
    }
}

/// Runs `nft`; what it prints.
async fn run(arguments: &[&str], input: Vec<u8>, tried: String) -> Result<Vec<u8>, Error> {
    let child = Command::new("nft")
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotInstalled { tried }),
        Err(error) => return Err(Error::Io { tried, error }),
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async move {
        match stdin {
            Some(mut stdin) => stdin.write_all(&input).await,
            None => Ok(()),
        }
    };
    // All at once: nft may print before it has read all.
    let end = async { tokio::try_join!(read(stdout, apart::list()), read(stderr, Vec::new()), child.wait()) };
    let (written, ended) = match timeout(LIMIT, async { tokio::join!(write, end) }).await {
        Err(_) => return Err(Error::TimedOut { tried }),
        Ok((written, Ok(ended))) => (written, ended),
        Ok((_, Err(error))) => return Err(Error::Io { tried, error }),
    };
    let (printed, said, status) = ended;
    if !status.success() {
        let said: Vec<_> = String::from_utf8_lossy(&said).split_whitespace().map(str::to_owned).collect();
        let said = if said.is_empty() { status.to_string() } else { said.join(" ") };
        return Err(match said.contains("Operation not permitted") {
            true => Error::NotPermitted { tried },
            false => Error::Refused { tried, said },
        });
    }
    match written {
        Err(error) => Err(Error::Io { tried, error }),
        Ok(()) => Ok(printed),
    }
}

/// All that comes from there.
async fn read(from: Option<impl AsyncRead + Unpin>, mut all: Vec<u8>) -> io::Result<Vec<u8>> {
    if let Some(mut from) = from {
        from.read_to_end(&mut all).await?;
    }
    Ok(all)
}
