//! The command's end of the admin sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Access;
use super::server::EXCHANGE;

/// A daemon that works says how it stands within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket, or no one behind it.
    #[error(
        "nobody listens at {}: is ipvsd running? (its $RUNTIME_DIRECTORY, where it has one, is needed here, too)",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is for others.
    #[error(
        "{} is not for this user: root may use it, and who is in the group that `ls -l` shows (`usermod -aG`)",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// The socket could not be used.
    #[error("cannot talk to ipvsd at {}: {error}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Something was answered that is no answer.
    #[error("ipvsd at {} did not answer properly: {said}; its log may say why", .path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What was wrong with it.
        said: String,
    },
}

/// An answer of the daemon.
#[derive(Debug)]
pub struct Answer {
    /// 200 where it did what was asked.
    pub status: StatusCode,
    /// What it said.
    pub said: Value,
}

impl Answer {
    /// What it has to say to people: lines that end in a line end, or nothing.
    pub fn text(&self) -> &str {
        self.said["text"].as_str().unwrap_or_default()
    }
}

/// Asks the daemon that has the same environment how things stand: by `read.sock`, or else by `control.sock`.
///
/// # Errors
/// No daemon answered.
pub async fn tell(target: &str) -> Result<Answer, Error> {
    let tell = async |access: Access| {
        let (path, request) = (access.socket(), exchange(&access.socket(), Method::GET, target, None).await);
        request.map_err(|error| (path, error))
    };
    let told = tokio::time::timeout(TOLD_WITHIN, async {
        match tell(Access::Read).await {
            // Who may control may read; and one socket may be all that systemd gives.
            Err((_, Error::NotAllowed(_) | Error::NotRunning(_))) => {
                tell(Access::Control).await.map_err(|(_, error)| error)
            }
            told => told.map_err(|(_, error)| error),
        }
    });
    told.await.unwrap_or_else(|_| {
        let said = format!("nothing came within {} s", TOLD_WITHIN.as_secs());
        Err(Error::Answer { path: Access::Read.socket(), said })
    })
}

/// Asks the daemon behind the socket `path` to do something, and waits until that is done or refused.
///
/// # Errors
/// No daemon answered.
pub async fn act(path: &Path, target: &str, body: Option<&Value>) -> Result<Answer, Error> {
    let acted = tokio::time::timeout(EXCHANGE, exchange(path, Method::POST, target, body)).await;
    acted.unwrap_or_else(|_| {
        let said = format!("nothing came within {} s, it may be done or not", EXCHANGE.as_secs());
        Err(Error::Answer { path: path.to_owned(), said })
    })
}

/// Asks for `target` (path and query).
async fn exchange(path: &Path, method: Method, target: &str, body: Option<&Value>) -> Result<Answer, Error> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning(path.to_owned()),
        io::ErrorKind::PermissionDenied => Error::NotAllowed(path.to_owned()),
        _ => Error::Io { path: path.to_owned(), error },
    })?;
    let bad = |said: String| Error::Answer { path: path.to_owned(), said };
    let http = |error: hyper::Error| bad(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let body = Full::from(body.map(Value::to_string).unwrap_or_default());
    let request =
        Request::builder().method(method).uri(target).header(HOST, "ipvsd").body::<Full<Bytes>>(body);
    let request = request.map_err(|error| bad(error.to_string()))?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    // The connection does the work that the exchange waits for.
    let (exchanged, _) = tokio::join!(exchange, connection);
    let (status, body) = exchanged.map_err(http)?;
    let said = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    Ok(Answer { status, said })
}
