//! What each request is answered.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::server::HEAD_TIME;
use super::{Access, Rejected, Reload, Request, Words};
use crate::config::{LoadError, Report};
use crate::core::overrides::Override;

/// The most that a request may say.
const BODY_BYTES: usize = 4096;

/// Who asks, and at which socket.
#[derive(Clone, Debug)]
pub struct Asker {
    pub access: Access,
    /// The user ID of the process at the other end, as the kernel says.
    pub user: u32,
    pub requests: UnboundedSender<Request>,
}

/// What there is to ask for, and whether it does something.
const PATHS: [(&str, bool); 7] = [
    ("/status", false),
    ("/explain", false),
    ("/plan", false),
    ("/reload", true),
    ("/drain", true),
    ("/weight", true),
    ("/undrain", true),
];

type Said = (StatusCode, Value);

/// Answers one request.
pub async fn answer(
    request: hyper::Request<Incoming>,
    asker: &Asker,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = PATHS.iter().find(|(path, _)| *path == head.uri.path());
    let mut allow = None;
    let (status, said) = match (path, &head.method) {
        (None, _) => {
            let paths: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
            (StatusCode::NOT_FOUND, text(&format!("there is only {}", paths.join(", "))))
        }
        (Some((_, false)), method) if *method != Method::GET => {
            allow = Some("GET");
            (StatusCode::METHOD_NOT_ALLOWED, text("GET it"))
        }
        (Some((_, true)), method) if *method != Method::POST => {
            allow = Some("POST");
            (StatusCode::METHOD_NOT_ALLOWED, text("POST it"))
        }
        (Some((path, true)), _) if asker.access == Access::Read => {
            (StatusCode::FORBIDDEN, text(&format!("read.sock only tells; POST {path} to control.sock")))
        }
        (Some((path, _)), _) => match read(body).await {
            Ok(body) => said(path, head.uri.query().unwrap_or_default(), &body, asker).await,
            Err(said) => said,
        },
    };
    let mut response = Response::new(Full::from(format!("{said}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow.parse().expect("a header value"));
    }
    Ok(response)
}

async fn read(body: Incoming) -> Result<Bytes, Said> {
    let bytes = tokio::time::timeout(HEAD_TIME, Limited::new(body, BODY_BYTES).collect()).await;
    let late = |_| (StatusCode::REQUEST_TIMEOUT, text("the request took too long"));
    let long = |_| (StatusCode::PAYLOAD_TOO_LARGE, text(&format!("a request is at most {BODY_BYTES} bytes")));
    Ok(bytes.map_err(late)?.map_err(long)?.to_bytes())
}

async fn said(path: &str, query: &str, body: &Bytes, asker: &Asker) -> Said {
    let done = match path {
        "/status" => status(query, asker).await,
        "/explain" => explain(query, asker).await,
        "/plan" if query.is_empty() => plan(asker).await,
        "/reload" if query.is_empty() && body.is_empty() => reload(asker).await,
        "/drain" | "/weight" | "/undrain" if query.is_empty() => operate(path, body, asker).await,
        _ => Err((StatusCode::BAD_REQUEST, text("it takes no arguments"))),
    };
    done.unwrap_or_else(|said| said)
}

fn text(text: &str) -> Value {
    json!({ "text": format!("{text}\n") })
}

fn bad(what: impl std::fmt::Display) -> Said {
    (StatusCode::BAD_REQUEST, text(&what.to_string()))
}

/// Asks the loop.
async fn ask<T>(asker: &Asker, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Said> {
    let (answer, answered) = oneshot::channel();
    let _ = asker.requests.send(request(answer));
    answered.await.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, text("ipvsd is ending")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    service: Option<String>,
    server: Option<String>,
    traffic: Option<bool>,
}

async fn status(query: &str, asker: &Asker) -> Result<Said, Said> {
    let Of { service, server, traffic } = serde_urlencoded::from_str(query).map_err(bad)?;
    let traffic = traffic.unwrap_or(true);
    let status = ask(asker, |answer| Request::Status { traffic, answer }).await?;
    let status = status
        .of(service.as_deref(), server.as_deref())
        .map_err(|what| (StatusCode::NOT_FOUND, text(&what)))?;
    Ok((StatusCode::OK, json!(status)))
}

async fn explain(query: &str, asker: &Asker) -> Result<Said, Said> {
    let Of { service, server, traffic } = serde_urlencoded::from_str(query).map_err(bad)?;
    let Some(name) = &service else { return Err(bad("which service? /explain?service=NAME")) };
    let traffic = traffic.unwrap_or(true);
    let status = ask(asker, |answer| Request::Status { traffic, answer }).await?;
    let status =
        status.of(Some(name), server.as_deref()).map_err(|what| (StatusCode::NOT_FOUND, text(&what)))?;
    let named = status.services.iter().flat_map(|it| &it.servers).map(|it| it.address).next();
    let server = named.filter(|_| server.is_some());
    // One that cannot be read is no reason to say nothing.
    let (history, text) =
        match ask(asker, |answer| Request::History { service: name.clone(), server, answer }).await? {
            Ok(history) => (history, String::new()),
            Err(error) => (Vec::new(), format!("the history cannot be read: {error}\n")),
        };
    Ok((StatusCode::OK, json!({ "status": status, "history": history, "text": text })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    service: String,
    server: String,
    weight: Option<u32>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    force: bool,
}

async fn operate(path: &str, body: &Bytes, asker: &Asker) -> Result<Said, Said> {
    let Body { service, server, weight, lasts, force } = serde_json::from_slice(body).map_err(bad)?;
    let needless =
        |is: bool, what: &str| if is { Err(bad(format!("{path} takes no \"{what}\""))) } else { Ok(()) };
    needless(path != "/weight" && weight.is_some(), "weight")?;
    needless(path == "/undrain" && lasts.is_some(), "for")?;
    needless(path == "/undrain" && force, "force")?;
    let weight = match weight {
        None if path == "/weight" => return Err(bad("which \"weight\"?")),
        weight => weight.unwrap_or(0),
    };
    if weight > i32::MAX as u32 {
        return Err(bad(format!("a weight is at most {}", i32::MAX)));
    }
    let lasts = lasts.map(|lasts| humantime::parse_duration(&lasts)).transpose();
    let lasts = lasts.map_err(|error| bad(format!("\"for\": {error}; 10m, for one")))?;
    if lasts == Some(Duration::ZERO) {
        return Err(bad("\"for\" 0 is no time"));
    }
    let words = Words { service, server, weight, lasts, force, by: asker.user };
    let answer = match path {
        "/undrain" => ask(asker, |answer| Request::TakeBack(words, answer)).await?,
        _ => ask(asker, |answer| Request::Override(words, answer)).await?,
    };
    let it: Override = answer.map_err(|why| (StatusCode::CONFLICT, text(&why)))?;
    Ok((StatusCode::OK, json!({ "text": "", "override": it })))
}

async fn plan(asker: &Asker) -> Result<Said, Said> {
    Ok(match ask(asker, Request::Plan).await? {
        Ok((changes, warnings)) => {
            let problems: Vec<_> = warnings.problems().collect();
            let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
            let warned = warnings.render(false);
            (
                StatusCode::OK,
                json!({ "text": warned, "lines": lines, "changes": changes, "problems": problems }),
            )
        }
        Err(rejected) => refusal(rejected, json!({})),
    })
}

async fn reload(asker: &Asker) -> Result<Said, Said> {
    let reload = |answer| Request::Reload(Reload { by: Some(asker.user), answer });
    Ok(match ask(asker, reload).await? {
        Ok(warnings) => {
            let problems: Vec<_> = warnings.problems().collect();
            (
                StatusCode::OK,
                json!({ "reloaded": true, "text": warnings.render(false), "problems": problems }),
            )
        }
        Err(rejected) => refusal(rejected, json!({ "reloaded": false })),
    })
}

fn refusal(rejected: Rejected, mut said: Value) -> Said {
    let (status, text, report) = match &rejected {
        Rejected::Config(LoadError::Invalid(report)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, report.render(false), Some(report))
        }
        Rejected::Config(_) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{rejected}\n"), None),
        Rejected::Machine(_) => (StatusCode::CONFLICT, format!("{rejected}\n"), None),
    };
    let problems: Vec<_> = report.into_iter().flat_map(|report: &Report| report.problems()).collect();
    said["text"] = json!(text);
    said["problems"] = json!(problems);
    (status, said)
}
