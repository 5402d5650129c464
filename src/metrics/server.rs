//! The listener: connections, their limits, and what each path is answered.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Either;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::text::{Format, write};
use crate::admin::Request;

/// So many may be connected at once; others wait.
const CONNECTIONS: usize = 16;
/// A request must be whole within this time, and its head within these bytes.
const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 * 1024;
/// All of an exchange: whoever reads more slowly gets no more.
const EXCHANGE: Duration = Duration::from_secs(60);
/// A daemon that works answers within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// The listener; closed soon after it is dropped.
#[derive(Debug)]
pub struct Exporter {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Exporter {
    /// Closes it; after that another one may have its port.
    pub async fn close(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

/// Answers at this address (port 0: any that is free); what only the loop knows is asked of `requests`.
///
/// # Errors
/// The address is not there, or taken.
pub fn start(address: SocketAddr, requests: UnboundedSender<Request>) -> std::io::Result<Exporter> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    Ok(Exporter { address, accepting: tokio::spawn(accept(listener, requests)) })
}

async fn accept(listener: TcpListener, requests: UnboundedSender<Request>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = room.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, say: it would come again at once.
                tracing::warn!(%error, "the listener for metrics cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &requests));
            // One request a connection: it cannot be held open for nothing.
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(EXCHANGE, served).await {
                tracing::debug!(%error, "a connection to the listener for metrics failed");
            }
            drop(place);
        });
    }
}

type Answered = Response<Either<Full<Bytes>, Chunks>>;

async fn answer(
    request: hyper::Request<Incoming>,
    requests: &UnboundedSender<Request>,
) -> Result<Answered, Infallible> {
    let path = request.uri().path();
    if !["/metrics", "/healthz", "/readyz"].contains(&path) {
        return Ok(text(StatusCode::NOT_FOUND, "there is only /metrics, /healthz and /readyz"));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET it");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    if path == "/metrics" {
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        return Ok(metrics(requests, Format::accepted(accept.unwrap_or_default())).await);
    }
    let health = match ask(requests, Request::Health).await {
        Ok(health) => health,
        Err(refused) => return Ok(*refused),
    };
    let (well, ill) = match path {
        "/healthz" => ("works", health.hangs.map(|task| format!("{task} hangs"))),
        _ => ("ready", health.unready),
    };
    Ok(match ill {
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
        None => text(StatusCode::OK, well),
    })
}

async fn metrics(requests: &UnboundedSender<Request>, format: Format) -> Answered {
    let observed = match ask(requests, Request::Metrics).await {
        Ok(observed) => observed,
        Err(refused) => return *refused,
    };
    // The whole text is never there: it goes as fast as it is read.
    let (to, chunks) = channel(2);
    let send = move |chunk| to.blocking_send(chunk).map_err(|_| fmt::Error);
    // Whoever asked may have gone.
    tokio::task::spawn_blocking(move || {
        let _ = write(observed, format, send);
    });
    let mut response = Response::new(Either::Right(Chunks(chunks)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

/// Asks the loop; what is answered in its place if it does not.
async fn ask<T>(
    requests: &UnboundedSender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Box<Answered>> {
    let unavailable = |what| Box::new(text(StatusCode::SERVICE_UNAVAILABLE, what));
    let (answer, answered) = oneshot::channel();
    let _ = requests.send(request(answer));
    match timeout(ANSWER, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(unavailable("ipvsd is ending")),
        Err(_) => Err(unavailable("the loop does not answer: ipvsd hangs")),
    }
}

fn text(status: StatusCode, what: &str) -> Answered {
    let mut response = Response::new(Either::Left(Full::from(format!("{what}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A body that is written while it is sent.
#[derive(Debug)]
struct Chunks(Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
