//! The daemon's end of an admin socket: connections and their limits.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answer::{Asker, answer};
use super::{Listener, Request};

/// So many may be connected at once; others wait.
const CONNECTIONS: usize = 32;
/// A request must be whole within this time, and its head within these bytes.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 * 1024;
/// All of an exchange: whoever reads more slowly gets no more. A reload of a config that cannot be read is waited for that long.
pub(super) const EXCHANGE: Duration = Duration::from_secs(60);

/// The open socket; closed when dropped, and its file removed if the daemon made it.
#[derive(Debug)]
pub struct Admin {
    made: Option<PathBuf>,
    accepting: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(path) = &self.made {
            let _ = fs::remove_file(path);
        }
    }
}

/// Passes what is asked for at `listener` to `requests`.
pub fn start(listener: Listener, requests: UnboundedSender<Request>) -> Admin {
    let made = listener.made.clone();
    Admin { made, accepting: tokio::spawn(accept(listener, requests)) }
}

async fn accept(listener: Listener, requests: UnboundedSender<Request>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = room.clone().acquire_owned().await {
        let stream = match listener.socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, say: it would come again at once.
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let asker = Asker { access: listener.access, user: peer.uid(), requests: requests.clone() };
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &asker));
            // One request a connection: it cannot be held open for nothing.
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(EXCHANGE, served).await {
                tracing::debug!(%error, "a connection to the admin socket failed");
            }
            drop(place);
        });
    }
}
