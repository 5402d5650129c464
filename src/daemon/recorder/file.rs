//! The files of the history: one that grows to a limit and then takes the place of the older one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::pieces::Pieces;

/// So large a file may become; only a single piece that is larger makes a larger one.
const LIMIT: u64 = 16 << 20;

/// `history.jsonl` and the older `history.jsonl.1` in one directory.
#[derive(Debug)]
pub struct HistoryFile {
    directory: PathBuf,
    limit: u64,
    /// The directory, locked: there is one writer.
    lock: Option<File>,
}

impl HistoryFile {
    /// Nothing is opened or made yet.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory, limit: LIMIT, lock: None }
    }

    /// The newer file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("history.jsonl")
    }

    /// The older file.
    pub fn older(&self) -> PathBuf {
        self.directory.join("history.jsonl.1")
    }

    /// Appends whole lines, all of them or none; the directory is made where it is missing.
    ///
    /// # Errors
    /// What could not be done; or another process writes there.
    pub fn append(&mut self, lines: &Pieces) -> io::Result<()> {
        let appended = self.try_to_append(lines);
        if appended.is_err() {
            // Somebody may put another directory in its place.
            self.lock = None;
        }
        appended
    }

    fn try_to_append(&mut self, lines: &Pieces) -> io::Result<()> {
        if self.lock.is_none() {
            self.lock = Some(lock(&self.directory)?);
        }
        // Opened anew each time: whoever removes the file to make room has made room.
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = open(&self.path(), &mut options)?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + lines.len() as u64 > self.limit {
            fs::rename(self.path(), self.older())?;
            file = open(&self.path(), &mut options)?;
            length = file.metadata()?.len();
        }
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        let mut write = || {
            // Whoever wrote before was cut off.
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
            lines.iter().try_for_each(|piece| file.write_all(piece))
        };
        write().inspect_err(|_| drop(file.set_len(length)))
    }

    /// The lines of both files, the oldest first; none if there are no files.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn lines(&self) -> io::Result<impl Iterator<Item = Vec<u8>> + use<>> {
        // In this order: the newer one may become the older one meanwhile.
        let newer = open_if_there(&self.path())?;
        let older = open_if_there(&self.older())?;
        let number = |file: &Option<File>| file.as_ref().map(|file| file.metadata().map(|data| data.ino()));
        let same = match (number(&newer), number(&older)) {
            (Some(newer), Some(older)) => newer? == older?,
            _ => false,
        };
        let files = older.filter(|_| !same).into_iter().chain(newer);
        Ok(files.flat_map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok)))
    }
}

fn lock(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let lock = File::open(directory)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other(
            "another ipvsd writes there; one in another network namespace needs another $STATE_DIRECTORY",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A link is not followed, and a pipe not waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is no regular file", path.display()))),
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match open(path, File::options().read(true)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(directory: &Path, limit: u64) -> HistoryFile {
        HistoryFile { limit, ..HistoryFile::in_directory(directory.join("state")) }
    }

    fn pieces(text: &[u8]) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.push(text);
        pieces
    }

    fn lines(file: &HistoryFile) -> Vec<String> {
        file.lines().unwrap().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn what_is_appended_is_read_again_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path(), LIMIT);
        assert_eq!(lines(&file), [""; 0]);
        file.append(&pieces(b"one\n")).unwrap();
        file.append(&pieces(b"two\nthree\n")).unwrap();
        assert_eq!(lines(&file), ["one", "two", "three"]);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn there_are_two_files_at_most_and_the_newest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path(), 100);
        for number in 0..50 {
            file.append(&pieces(format!("line {number:02}\n").as_bytes())).unwrap();
            assert!(fs::metadata(file.path()).unwrap().len() <= 100);
        }
        let expected: Vec<String> = (36..50).map(|number| format!("line {number:02}")).collect();
        assert_eq!(lines(&file), expected);
        assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 2);
        // One that is too large for any file has one of its own.
        file.append(&pieces(&[b'x'; 200])).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 200);
    }

    #[test]
    fn a_line_that_was_cut_off_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path(), LIMIT);
        file.append(&pieces(b"one\n")).unwrap();
        fs::write(file.path(), "one\ntw").unwrap();
        file.append(&pieces(b"three\n")).unwrap();
        assert_eq!(lines(&file), ["one", "tw", "three"]);
    }

    #[test]
    fn there_is_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let [mut one, mut other] = [file(dir.path(), LIMIT), file(dir.path(), LIMIT)];
        one.append(&pieces(b"one\n")).unwrap();
        let error = other.append(&pieces(b"two\n")).unwrap_err().to_string();
        assert!(error.contains("another ipvsd") && error.contains("$STATE_DIRECTORY"), "{error}");
        drop(one);
        other.append(&pieces(b"two\n")).unwrap();
        assert_eq!(lines(&other), ["one", "two"]);
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path(), LIMIT);
        file.append(&pieces(b"one\n")).unwrap();
        let target = dir.path().join("passwd");
        fs::write(&target, "root").unwrap();
        fs::remove_file(file.path()).unwrap();
        symlink(&target, file.path()).unwrap();
        assert!(file.append(&pieces(b"two\n")).is_err());
        assert!(file.lines().is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "root");
        fs::remove_file(file.path()).unwrap();
        nix::unistd::mkfifo(&file.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(file.append(&pieces(b"two\n")).is_err(), "a pipe");
    }

    #[test]
    fn who_removes_it_makes_room_and_loses_nothing_that_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path(), LIMIT);
        file.append(&pieces(b"one\n")).unwrap();
        fs::remove_file(file.path()).unwrap();
        file.append(&pieces(b"two\n")).unwrap();
        assert_eq!(lines(&file), ["two"]);
    }
}
