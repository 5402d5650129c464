//! Secrets of checks: from a file or a credential of systemd, read whenever the config is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::string;
use crate::core::model::Secret;

/// No protocol has longer ones.
const MAX_LENGTH: usize = 255;
/// Where systemd puts the credentials of the running unit, for `ipvsd validate` outside of it.
const OF_THE_UNIT: &str = "/run/credentials/ipvsd.service";

/// Where a secret stands.
#[derive(Debug)]
pub enum Source {
    /// In the config.
    Plain(Secret),
    /// In this file.
    File(String),
    /// In the credential of this name (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// The key `key` and the file that it names.
pub fn file<'k>(table: &Table<'_>, key: &'k str, problems: &mut Problems) -> (&'k str, Field<Source>) {
    (key, table.get(key, problems, |v, p| string(v, p).map(Source::File)))
}

/// The key `key` and the credential that it names.
pub fn credential<'k>(table: &Table<'_>, key: &'k str, problems: &mut Problems) -> (&'k str, Field<Source>) {
    (key, table.get(key, problems, |v, p| string(v, p).map(Source::Credential)))
}

/// The secret; one line end after it does not count.
pub fn judge(source: &At<Source>, problems: &mut Problems) -> Option<Secret> {
    let (bytes, name) = match &source.value {
        Source::Plain(secret) => (secret.bytes().to_vec(), "the secret".to_owned()),
        Source::File(path) => (read(Path::new(path), source.place, problems)?, format!("`{path}`")),
        Source::Credential(name) => (
            read(&credential_path(name, source.place, problems)?, source.place, problems)?,
            format!("the credential `{name}`"),
        ),
    };
    let secret =
        bytes.strip_suffix(b"\n").map_or(&bytes[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    if secret.is_empty() || secret.len() > MAX_LENGTH {
        problems
            .error(source.place, format!("{name} must hold 1 to {MAX_LENGTH} bytes, and a line end at most"));
        return None;
    }
    Some(Secret::new(secret.to_vec()))
}

fn credential_path(name: &str, place: Place, problems: &mut Problems) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        problems.error(place, format!("`{name}` is not the name of a credential"));
        return None;
    }
    let folder =
        std::env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| PathBuf::from(OF_THE_UNIT), PathBuf::from);
    Some(folder.join(name))
}

fn read(path: &Path, place: Place, problems: &mut Problems) -> Option<Vec<u8>> {
    let name = path.display();
    if !path.is_absolute() {
        problems.error(place, format!("`{name}` is not a whole path")).help("it begins with `/`");
        return None;
    }
    match try_read(path) {
        Ok((bytes, mode)) => {
            if mode & 0o007 != 0 {
                problems
                    .warning(
                        place,
                        format!("every user of this machine has access to the secret in `{name}`"),
                    )
                    .help(format!("chmod o= {name}"));
            }
            Some(bytes)
        }
        Err(error) => {
            let problem = problems.error(place, format!("cannot read the secret in `{name}`: {error}"));
            if path.starts_with(OF_THE_UNIT) {
                problem
                    .help("credentials are there only for a unit with `LoadCredential=`, and while it runs");
            }
            None
        }
    }
}

/// The bytes, or the first ones where there are too many, and the permissions.
fn try_read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    // A FIFO without a writer is opened at once, and seen to be none.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH as u64 + 3).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.mode()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The secret in a file of these bytes, and what was said about it.
    fn read_file(bytes: &[u8], mode: u32) -> (Option<Secret>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("permissions");
        judged(Source::File(path.display().to_string()))
    }

    fn judged(source: Source) -> (Option<Secret>, Vec<String>) {
        let mut problems = Problems::default();
        let secret = judge(&At { value: source, place: Place { start: 0, end: 0 } }, &mut problems);
        let report = super::super::super::Report::new("a", "", problems);
        (secret, report.problems().map(|problem| problem.message.to_owned()).collect())
    }

    #[test]
    fn a_line_end_is_no_part_of_it() {
        for bytes in [&b"xyzzy"[..], b"xyzzy\n", b"xyzzy\r\n"] {
            assert_eq!(read_file(bytes, 0o600), (Some(Secret::new(b"xyzzy".to_vec())), vec![]));
        }
        assert_eq!(read_file(b" a \n\n", 0o640).0, Some(Secret::new(b" a \n".to_vec())));
        let longest = vec![b'x'; 255];
        assert_eq!(read_file(&[&longest[..], b"\r\n"].concat(), 0o600).0, Some(Secret::new(longest)));
    }

    #[test]
    fn too_little_and_too_much_are_refused() {
        for bytes in [&b""[..], b"\n", &[b'x'; 256], &[b'x'; 100_000]] {
            let (secret, said) = read_file(bytes, 0o600);
            assert_eq!(secret, None);
            assert!(said[0].ends_with("must hold 1 to 255 bytes, and a line end at most"), "{said:?}");
        }
    }

    #[test]
    fn what_all_may_read_is_warned_of() {
        let (secret, said) = read_file(b"xyzzy", 0o644);
        assert!(secret.is_some() && said[0].starts_with("every user of this machine has access"), "{said:?}");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let refused = |source: Source, why: &str| {
            let (secret, said) = judged(source);
            assert!(
                secret.is_none() && said.len() == 1 && said[0].contains(why),
                "{said:?} instead of {why}"
            );
        };
        refused(Source::File("/no/such/secret".to_owned()), "`/no/such/secret`: No such file or directory");
        refused(Source::File("secret".to_owned()), "`secret` is not a whole path");
        refused(Source::File("/dev/zero".to_owned()), "not a regular file");
        for name in ["", "../passwd", "/etc/passwd", "..", "a/b"] {
            refused(Source::Credential(name.to_owned()), "is not the name of a credential");
        }
        let fifo = tempfile::tempdir().expect("a folder").keep().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
        refused(Source::File(fifo.display().to_string()), "not a regular file");
    }
}
