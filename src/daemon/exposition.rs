//! Where metrics are served, as the config has it.

use std::net::SocketAddr;

use tokio::sync::mpsc::UnboundedSender;

use crate::admin::Request;
use crate::metrics::{self, Exporter};

/// The listener for metrics, if there is one.
pub struct Exposition {
    requests: UnboundedSender<Request>,
    exporter: Option<Exporter>,
}

impl Exposition {
    /// Nowhere yet; `requests` has the answers.
    pub fn new(requests: UnboundedSender<Request>) -> Self {
        Self { requests, exporter: None }
    }

    /// Serves metrics at this address from now on, or nowhere. Where that is not possible it is said: datagrams are forwarded
    /// without them, too.
    pub async fn follow(&mut self, listen: Option<SocketAddr>) {
        if self.exporter.as_ref().map(|exporter| exporter.address) == listen {
            return;
        }
        // The new one may be another address of the same port.
        if let Some(exporter) = self.exporter.take() {
            exporter.close().await;
        }
        let Some(listen) = listen else { return };
        match metrics::start(listen, self.requests.clone()) {
            Ok(exporter) => self.exporter = Some(exporter),
            Err(error) => {
                tracing::error!(%listen, %error, "no metrics: cannot listen there; a reload tries again");
            }
        }
    }
}
