//! The daemon's end of the admin socket.

use std::convert::Infallible;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::{Rejected, Reloaded};
use crate::config::{LoadError, Report};

/// So many may be connected at once; others wait.
const CONNECTIONS: usize = 32;
/// A request must be whole within this time, and its head within these bytes.
const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 * 1024;

/// The open socket; closed and its file removed when dropped.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the socket `path` (mode 0660; its directory is made if need be) and passes each reload asked for to
/// `reloads`. The file of a dead daemon is replaced.
///
/// # Errors
/// The file or its directory cannot be made, or another program listens there.
pub fn start(path: PathBuf, reloads: UnboundedSender<oneshot::Sender<Reloaded>>) -> io::Result<Admin> {
    let listener = listen(&path)?;
    let accepting = tokio::spawn(accept(listener, reloads));
    Ok(Admin { path, accepting })
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let directory = path.parent().unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there; an ipvsd in another network namespace needs another $RUNTIME_DIRECTORY",
        ));
    }
    // It appears under its name with its mode, and in place of an old one.
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, reloads: UnboundedSender<oneshot::Sender<Reloaded>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = room.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, say: it would come again at once.
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let reloads = reloads.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &reloads));
            // One request a connection: it cannot be held open for nothing.
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the admin socket failed");
            }
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    reloads: &UnboundedSender<oneshot::Sender<Reloaded>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, said) = match (request.method(), request.uri().path()) {
        _ if !request.body().is_end_stream() => {
            (StatusCode::PAYLOAD_TOO_LARGE, error("a request here has no body"))
        }
        (&Method::POST, "/reload") => reload(reloads).await,
        (_, "/reload") => (StatusCode::METHOD_NOT_ALLOWED, error("POST it")),
        _ => (StatusCode::NOT_FOUND, error("there is only POST /reload")),
    };
    let mut response = Response::new(Full::from(format!("{said}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, "POST".parse().expect("a header value"));
    }
    Ok(response)
}

fn error(text: &str) -> Value {
    json!({ "text": text })
}

async fn reload(reloads: &UnboundedSender<oneshot::Sender<Reloaded>>) -> (StatusCode, Value) {
    let (answer, answered) = oneshot::channel();
    let _ = reloads.send(answer);
    let said = |reloaded: bool, report: Option<&Report>, text: String| {
        let problems: Vec<_> = report.into_iter().flat_map(Report::problems).collect();
        json!({ "reloaded": reloaded, "text": text, "problems": problems })
    };
    match answered.await {
        Ok(Ok(warnings)) => (StatusCode::OK, said(true, Some(&warnings), warnings.render(false))),
        Ok(Err(Rejected::Config(LoadError::Invalid(report)))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, said(false, Some(&report), report.render(false)))
        }
        Ok(Err(rejected @ Rejected::Config(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, said(false, None, format!("{rejected}\n")))
        }
        Ok(Err(rejected @ Rejected::Machine(_))) => {
            (StatusCode::CONFLICT, said(false, None, format!("{rejected}\n")))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, said(false, None, "ipvsd is ending\n".to_owned())),
    }
}
