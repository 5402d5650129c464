//! TLS of an `https` probe: whom the server must prove to be, and how.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::core::model::{TlsProbe, Trust};
use crate::health::connection;
use crate::health::failure::Failure;
use crate::health::protocol::printable;

/// The client's side of TLS.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// What the certificate must be valid for; none if it is the server's address.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// Compiles the settings.
    ///
    /// # Errors
    /// The certificates that are trusted cannot be had or used.
    pub fn new(tls: &TlsProbe) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &tls.trust {
            Trust::Anybody => Arc::new(Anybody(Arc::clone(&provider))),
            Trust::System => verifier(system_roots()?, &provider)?,
            Trust::Only(certificates) => verifier(only(certificates)?, &provider)?,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each probe is to see what a new client sees.
        config.resumption = rustls::client::Resumption::disabled();
        let name = tls.name.as_ref().map(|name| {
            ServerName::try_from(name.clone()).map_err(|error| format!("host \"{name}\": {error}"))
        });
        Ok(Tls { config: Arc::new(config), name: name.transpose()? })
    }

    /// Lets the server prove who it is.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        server: IpAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(server));
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| match error.raw_os_error() {
            Some(_) => connection::broken(&error),
            None => Failure::WrongAnswer(format!("TLS: {}", printable(&error.to_string()))),
        })
    }
}

fn verifier(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| format!("TLS: {error}"))?)
}

/// The certificates that this machine trusts; read once.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Some of them are not for TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err("TLS: this machine trusts no certificate (package ca-certificates?)".to_owned());
    }
    Ok(Arc::clone(roots))
}

/// Only these certificates.
fn only(certificates: &[Vec<u8>]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = CertificateDer::from_slice(certificate);
        roots.add(certificate).map_err(|error| format!("a certificate of `ca_file`: {error}"))?;
    }
    Ok(Arc::new(roots))
}

/// Takes any certificate (`verify = false`). That the server has its key is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
