//! Certificates that a check trusts: a PEM file, read whenever the config is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NONBLOCK;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::draft::At;
use super::super::report::Problems;

/// All certificates that the world trusts are a quarter of it.
const MOST: u64 = 1024 * 1024;

/// The certificates of the file (DER); at least one, each fit to verify others.
pub fn certificates(at: &At<String>, problems: &mut Problems) -> Option<Vec<Vec<u8>>> {
    let path = &at.value;
    if !path.starts_with('/') {
        problems.error(at.place, format!("`{path}` is not a whole path")).help("it begins with `/`");
        return None;
    }
    match read(path) {
        Ok(certificates) => Some(certificates),
        Err(error) => {
            problems
                .error(at.place, format!("no certificates from `{path}`: {error}"))
                .help("a PEM file: -----BEGIN CERTIFICATE-----");
            None
        }
    }
}

fn read(path: &str) -> Result<Vec<Vec<u8>>, String> {
    let bytes = try_read(path).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        RootCertStore::empty().add(certificate.clone()).map_err(|error| error.to_string())?;
        certificates.push(certificate.to_vec());
    }
    if certificates.is_empty() {
        return Err("there is none in it".to_owned());
    }
    Ok(certificates)
}

fn try_read(path: &str) -> io::Result<Vec<u8>> {
    // A FIFO without a writer is opened at once, and seen to be none.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}
