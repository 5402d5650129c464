//! The command's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket, or no one behind it.
    #[error(
        "nobody listens at {}: is ipvsd running? (its $RUNTIME_DIRECTORY, where it has one, is needed here, too)",
        .0.display()
    )]
    NotRunning(PathBuf),
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
    /// What it has to say to people: lines that end in a line end, or nothing.
    pub text: String,
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

/// Asks the daemon behind the socket `path` to read its config again, and waits until that is done or refused.
///
/// # Errors
/// No daemon answered.
pub async fn reload(path: &Path) -> Result<Answer, Error> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning(path.to_owned()),
        _ => Error::Io { path: path.to_owned(), error },
    })?;
    let bad = |said: String| Error::Answer { path: path.to_owned(), said };
    let http = |error: hyper::Error| bad(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = Request::post("/reload").header(HOST, "ipvsd").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| bad(error.to_string()))?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    // The connection does the work that the exchange waits for.
    let (exchanged, _) = tokio::join!(exchange, connection);
    let (status, body) = exchanged.map_err(http)?;
    let said: Said = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    Ok(Answer { status, text: said.text })
}
