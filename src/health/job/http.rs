//! The `http` and `https` probes: one request over a connection of its own (HTTP/1.1), and what its response must be.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use regex::bytes::{Regex, RegexBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use super::percentage;
use super::tls::Tls;
use crate::core::model::{Factor, HttpProbe, Origin};
use crate::health::connection;
use crate::health::failure::Failure;
use crate::health::origin;
use crate::health::protocol::{hex, printable, text};
use crate::health::socket::Trouble;

/// So much of a body is read.
const MOST: usize = 64 * 1024;

/// An `http` or `https` probe.
#[derive(Debug)]
pub struct Http {
    probe: HttpProbe,
    method: Method,
    headers: HeaderMap,
    body: Option<Regex>,
    body_absent: Option<Regex>,
    weight: Option<HeaderName>,
    tls: Option<Tls>,
}

impl Http {
    /// Compiles the request, the regular expression (over bytes) and the TLS settings.
    ///
    /// # Errors
    /// What HTTP or TLS does not have, in words; a valid config holds no such probe.
    pub fn new(probe: &HttpProbe) -> Result<Http, String> {
        let name = |name: &str| HeaderName::try_from(name).map_err(|error| format!("\"{name}\": {error}"));
        let mut headers = HeaderMap::new();
        for (key, value) in &probe.headers {
            let value =
                HeaderValue::try_from(value).map_err(|error| format!("the value of \"{key}\": {error}"))?;
            headers.append(name(key)?, value);
        }
        let method = probe.method.parse().map_err(|error| format!("method \"{}\": {error}", probe.method))?;
        let regex = |pattern: &Option<String>| {
            let regex = pattern.as_ref().map(|pattern| RegexBuilder::new(pattern).unicode(false).build());
            regex.transpose().map_err(|error| format!("body: {error}"))
        };
        Ok(Http {
            method,
            headers,
            body: regex(&probe.body)?,
            body_absent: regex(&probe.body_absent)?,
            weight: probe.weight.as_deref().map(name).transpose()?,
            tls: probe.tls.as_ref().map(Tls::new).transpose()?,
            probe: probe.clone(),
        })
    }

    /// Asks the server.
    pub async fn run(&self, server: SocketAddr, origin: &Origin) -> Result<Factor, Trouble> {
        let socket = TcpSocket::from_std_stream(origin::stream(server, origin)?.into());
        self.ask(socket, server).await.map_err(Trouble::Failed)
    }

    async fn ask(&self, socket: TcpSocket, server: SocketAddr) -> Result<Factor, Failure> {
        let stream = socket.connect(server).await.map_err(|error| connection::broken(&error))?;
        match &self.tls {
            None => self.exchange(stream, server).await,
            Some(tls) => self.exchange(tls.handshake(stream, server.ip()).await?, server).await,
        }
    }

    async fn exchange<S>(&self, stream: S, server: SocketAddr) -> Result<Factor, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| broken(&error))?;
        let request = self.request(server)?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            self.judge(response).await
        };
        drive(asked, connection).await
    }

    fn request(&self, server: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
        let host = match &self.probe.host {
            Some(host) => host.clone(),
            None => server.to_string(),
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.probe.path)
            .header("host", host)
            .header("user-agent", concat!("ipvsd/", env!("CARGO_PKG_VERSION")))
            .header("accept", "*/*")
            .header("connection", "close")
            .body(Empty::new())
            .map_err(|error| Failure::Said(format!("the request: {error}")))?;
        for name in self.headers.keys() {
            // They stand instead of ours.
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<Factor, Failure> {
        let status = response.status();
        if !self.probe.status.iter().any(|range| range.contains(status.as_u16())) {
            return Err(Failure::WrongAnswer(format!("status {status}")));
        }
        let factor = match &self.weight {
            None => Factor::FULL,
            Some(name) => {
                let value = response.headers().get(name);
                let value = value.ok_or_else(|| Failure::WrongAnswer(format!("no header `{name}`")))?;
                let text = String::from_utf8_lossy(value.as_bytes());
                percentage(&format!("the header `{name}`"), text.trim())?
            }
        };
        self.judge_body(response.into_body()).await.map(|()| factor)
    }

    /// The body is read as far as it takes: to the end for its digest; else 64 KiB at most, and less if they match before.
    async fn judge_body(&self, mut body: Incoming) -> Result<(), Failure> {
        if self.body.is_none() && self.body_absent.is_none() && self.probe.digest.is_none() {
            return Ok(());
        }
        let (mut read, mut digest) = (Vec::new(), Md5::new());
        let mut found = false;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            digest.update(data);
            let more = &data[..data.len().min(MOST - read.len())];
            read.extend_from_slice(more);
            found = found || self.body.as_ref().is_none_or(|regex| regex.is_match(&read));
            let seen = read.len() == MOST || (found && self.body_absent.is_none());
            if seen && self.probe.digest.is_none() {
                break;
            }
        }
        let wrong = |what| Err(Failure::WrongAnswer(format!("the body {} {what}", text(&read))));
        if let Some(regex) = self.body.as_ref().filter(|regex| !found && !regex.is_match(&read)) {
            return wrong(format!("does not match \"{}\"", printable(regex.as_str())));
        }
        if let Some(regex) = self.body_absent.as_ref().filter(|regex| regex.is_match(&read)) {
            return wrong(format!("matches \"{}\"", printable(regex.as_str())));
        }
        match (self.probe.digest, <[u8; 16]>::from(digest.finalize())) {
            (Some(expected), found) if expected != found => {
                wrong(format!("has the digest {}, not {}", hex(&found), hex(&expected)))
            }
            _ => Ok(()),
        }
    }
}

/// Drives the connection while `asked` needs it.
async fn drive<T>(asked: impl Future<Output = T>, connection: impl Future) -> T {
    let (mut asked, mut connection) = (pin!(asked), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        // What has come of the response is still to be had.
        _ = &mut connection => asked.await,
    }
}

fn broken(error: &hyper::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>().filter(|error| error.raw_os_error().is_some())
        {
            return connection::broken(error);
        }
        source = cause.source();
    }
    match error.source() {
        Some(cause) => Failure::WrongAnswer(printable(&format!("{error}: {cause}"))),
        None => Failure::WrongAnswer(printable(&error.to_string())),
    }
}
