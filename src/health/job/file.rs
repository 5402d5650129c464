//! The `file` probe: a number in a file, which somebody else writes.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NONBLOCK;

use super::factor;
use super::template::fill;
use crate::core::model::FileProbe;
use crate::health::failure::Failure;
use crate::health::protocol::printable;

/// No number is longer, with blanks around it.
const MOST: u64 = 64;

/// A `file` probe.
#[derive(Debug)]
pub struct File {
    probe: FileProbe,
}

impl File {
    /// Nothing is read yet.
    pub fn new(probe: &FileProbe) -> File {
        File { probe: probe.clone() }
    }

    /// Reads the file of this server.
    pub async fn run(&self, server: SocketAddr) -> Result<u32, Failure> {
        let path = fill(&self.probe.path, server);
        let read = tokio::task::spawn_blocking(move || (read(&path), path)).await;
        let Ok((bytes, path)) = read else { return Err(Failure::Said("the reader has ended".to_owned())) };
        let path = printable(&path);
        let bytes = bytes.map_err(|error| Failure::Said(format!("{path}: {error}")))?;
        self.judge(&path, &bytes)
    }

    fn judge(&self, path: &str, bytes: &[u8]) -> Result<u32, Failure> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        if self.probe.weight {
            return factor(path, text);
        }
        match text.parse::<u32>() {
            Ok(0) => Err(Failure::Said(format!("{path} is 0"))),
            Ok(_) => Ok(100),
            Err(_) => Err(Failure::Said(format!("{path} is \"{}\", not a number", printable(text)))),
        }
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    // A FIFO without a writer is opened at once, and seen to be none.
    let file = fs::File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(weight: bool, bytes: &[u8]) -> Result<u32, String> {
        let file = File::new(&FileProbe { path: "f".to_owned(), weight });
        file.judge("f", bytes).map_err(|why| why.to_string())
    }

    #[test]
    fn any_number_but_0_is_up() {
        for text in ["1", "1\n", "  4294967295\r\n", "007"] {
            assert_eq!(judge(false, text.as_bytes()), Ok(100), "{text:?}");
        }
        assert_eq!(judge(false, b"0\n"), Err("f is 0".to_owned()));
        for text in ["", "-1", "1 2", "up", "4294967296", "1.5"] {
            assert_eq!(judge(false, text.as_bytes()), Err(format!("f is \"{text}\", not a number")));
        }
    }

    #[test]
    fn a_weight_is_a_percentage() {
        assert_eq!(judge(true, b"1\n"), Ok(1));
        assert_eq!(judge(true, b"1000"), Ok(1000));
        assert_eq!(judge(true, b"0"), Ok(0));
        assert_eq!(judge(true, b"1001"), Err("f is \"1001\", not a number from 0 to 1000".to_owned()));
    }

    proptest! {
        #[test]
        fn garbage_gives_a_short_printable_reason(bytes in prop::collection::vec(any::<u8>(), 0..64), weight: bool) {
            match judge(weight, &bytes) {
                Ok(factor) => prop_assert!(factor <= 1000),
                Err(why) => prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 1000, "{why:?}"),
            }
        }
    }
}
