//! The `file` probe: a number in a file, which somebody else writes.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NONBLOCK;

use super::percentage;
use super::template::fill;
use crate::core::model::{Factor, FileNumber, FileProbe};
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
    pub async fn run(&self, server: SocketAddr) -> Result<Factor, Failure> {
        let path = fill(&self.probe.path, server);
        let read = tokio::task::spawn_blocking(move || (read(&path), path)).await;
        let Ok((bytes, path)) = read else { return Err(Failure::Said("the reader has ended".to_owned())) };
        let path = printable(&path);
        // Where a number says what is wrong, or what is to be added, nobody has to write that there is nothing.
        let nothing = matches!(self.probe.number, FileNumber::DownUnlessZero | FileNumber::Times(_));
        match bytes {
            Ok(bytes) => self.judge(&path, &bytes),
            Err(error) if nothing && error.kind() == io::ErrorKind::NotFound => self.judge(&path, b"0"),
            Err(error) => Err(Failure::Said(format!("{path}: {error}"))),
        }
    }

    fn judge(&self, path: &str, bytes: &[u8]) -> Result<Factor, Failure> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        let not = |what| Failure::Said(format!("{path} is \"{}\", not {what}", printable(text)));
        match self.probe.number {
            FileNumber::Percent => percentage(path, text),
            FileNumber::UpUnlessZero => match text.parse::<u32>() {
                Ok(0) => Err(Failure::Said(format!("{path} is 0"))),
                Ok(_) => Ok(Factor::FULL),
                Err(_) => Err(not("a number")),
            },
            FileNumber::DownUnlessZero => match text.parse::<i64>() {
                Ok(0) => Ok(Factor::FULL),
                Ok(number) => Err(Failure::Said(format!("{path} is {number}"))),
                Err(_) => Err(not("a whole number")),
            },
            FileNumber::Times(times) => match text.parse::<i32>() {
                Ok(number) => Ok(Factor::Added { added: number.saturating_mul(times) }),
                Err(_) => Err(not("a whole number of 32 bits")),
            },
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

    fn judge(number: FileNumber, bytes: &[u8]) -> Result<Factor, String> {
        let file = File::new(&FileProbe { path: "f".to_owned(), number });
        file.judge("f", bytes).map_err(|why| why.to_string())
    }

    #[tokio::test]
    async fn a_file_that_is_missing_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").display().to_string();
        let server = SocketAddr::from(([10, 0, 0, 1], 53));
        let run = async |number| File::new(&FileProbe { path: path.clone(), number }).run(server).await;
        assert_eq!(run(FileNumber::DownUnlessZero).await.ok(), Some(Factor::FULL));
        assert_eq!(run(FileNumber::Times(3)).await.ok(), Some(Factor::Added { added: 0 }));
        for number in [FileNumber::UpUnlessZero, FileNumber::Percent] {
            let why = run(number).await.unwrap_err().to_string();
            assert!(why.ends_with("No such file or directory (os error 2)"), "{why}");
        }
    }

    #[test]
    fn any_number_but_0_is_up() {
        for text in ["1", "1\n", "  4294967295\r\n", "007"] {
            assert_eq!(judge(FileNumber::UpUnlessZero, text.as_bytes()), Ok(Factor::FULL), "{text:?}");
        }
        assert_eq!(judge(FileNumber::UpUnlessZero, b"0\n"), Err("f is 0".to_owned()));
        for text in ["", "-1", "1 2", "up", "4294967296", "1.5"] {
            assert_eq!(
                judge(FileNumber::UpUnlessZero, text.as_bytes()),
                Err(format!("f is \"{text}\", not a number"))
            );
        }
    }

    #[test]
    fn a_weight_is_a_percentage() {
        for (text, percent) in [("1\n", 1), ("1000", 1000), ("0", 0)] {
            assert_eq!(judge(FileNumber::Percent, text.as_bytes()), Ok(Factor::Percent(percent)));
        }
        assert_eq!(
            judge(FileNumber::Percent, b"1001"),
            Err("f is \"1001\", not a number from 0 to 1000".to_owned())
        );
    }

    #[test]
    fn any_number_but_0_is_down_where_the_writer_counts_faults() {
        let judge = |text: &str| judge(FileNumber::DownUnlessZero, text.as_bytes());
        for text in ["0\n", "-0", "000"] {
            assert_eq!(judge(text), Ok(Factor::FULL), "{text:?}");
        }
        assert_eq!(judge("-1\n"), Err("f is -1".to_owned()));
        assert_eq!(judge("255"), Err("f is 255".to_owned()));
        assert_eq!(judge(""), Err("f is \"\", not a whole number".to_owned()));
    }

    #[test]
    fn a_number_may_be_added_to_the_weight() {
        let judge = |times, text: &str| judge(FileNumber::Times(times), text.as_bytes());
        for (times, text, added) in
            [(2, "3\n", 6), (-2, "3", -6), (1, "0", 0), (2, "-7", -14), (i32::MIN, "2147483647", i32::MIN)]
        {
            assert_eq!(judge(times, text), Ok(Factor::Added { added }), "{times} × {text}");
        }
        let why = "f is \"2147483648\", not a whole number of 32 bits".to_owned();
        assert_eq!(judge(1, "2147483648"), Err(why));
    }

    proptest! {
        #[test]
        fn garbage_gives_a_short_printable_reason(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            number in prop::sample::select(vec![
                FileNumber::UpUnlessZero,
                FileNumber::DownUnlessZero,
                FileNumber::Percent,
                FileNumber::Times(-2),
            ]),
        ) {
            match judge(number, &bytes) {
                Ok(Factor::Percent(percent)) => prop_assert!(percent <= 1000),
                Ok(factor) => prop_assert!(matches!(number, FileNumber::Times(_)), "{factor:?}"),
                Err(why) => prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 1000, "{why:?}"),
            }
        }
    }
}
