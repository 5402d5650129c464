//! The verbs as values: what to send, and the type of the answer. Each is written once, for every client.
//!
//! ```no_run
//! use ipvs_netlink::{ServiceKey, blocking::Client, request};
//!
//! let mut client = Client::connect()?;
//! let keys = ["192.0.2.1:53", "192.0.2.2:53"].map(|vip| ServiceKey::udp(vip.parse().unwrap()));
//! // One by one, or many in one send.
//! let service = client.send(request::get_service(&keys[0]))?;
//! let results = client.send_all(keys.iter().map(request::delete_service));
//! # Ok::<(), ipvs_netlink::Error>(())
//! ```

mod daemon;
mod destination;
mod service;
mod table;

use std::marker::PhantomData;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

pub use daemon::{list_daemons, start_daemon, stop_daemon};
pub use destination::{add_destination, delete_destination, list_destinations, set_destination};
pub use service::{add_service, delete_service, get_service, list_services, set_service, zero_service};
pub(crate) use table::resolve_family;
pub use table::{flush, get_info, get_timeouts, set_timeouts, zero_all};

use crate::Operation;
use crate::uapi::IPVS_GENL_VERSION;
use crate::write::Bytes;

const NETLINK_HEADER_LENGTH: usize = 16;

/// One verb with its arguments; `R` is what the kernel's answer becomes.
///
/// It knows neither the family's id nor a sequence number: both come when it is encoded.
#[derive(Debug)]
pub struct Request<R> {
    operation: Operation,
    /// The generic netlink header and the attributes; a multiple of 4 bytes.
    payload: Vec<u8>,
    /// The family's id where it is fixed (that of the controller).
    fixed_family: Option<u16>,
    dump: bool,
    answer: PhantomData<fn() -> R>,
}

impl<R> Clone for Request<R> {
    fn clone(&self) -> Self {
        Self { payload: self.payload.clone(), ..*self }
    }
}

impl<R> Request<R> {
    /// A request for one answer, with the attributes that `fill` appends.
    fn new(operation: Operation, command: u8, fill: impl FnOnce(&mut Bytes)) -> Self {
        // Room for a service and a destination with the attributes that most have.
        let mut payload = Bytes(Vec::with_capacity(128));
        payload.0.extend_from_slice(&[command, IPVS_GENL_VERSION, 0, 0]);
        fill(&mut payload);
        Self { operation, payload: payload.0, fixed_family: None, dump: false, answer: PhantomData }
    }

    /// A request for a dump.
    fn dump(operation: Operation, command: u8, fill: impl FnOnce(&mut Bytes)) -> Self {
        Self { dump: true, ..Self::new(operation, command, fill) }
    }

    /// What is asked, and of which objects.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether the answer is a dump: many messages and a last one that says so.
    pub fn is_dump(&self) -> bool {
        self.dump
    }

    /// The whole netlink message, its length a multiple of 4, so that several may follow each other in one send.
    ///
    /// `family` is the id that the running kernel gave to `IPVS`; the answer carries `sequence`. The port number is
    /// 0: a socket that is bound puts in its own.
    pub fn encode(&self, family: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(NETLINK_HEADER_LENGTH + self.payload.len());
        self.encode_into(&mut bytes, family, sequence);
        bytes
    }

    /// Appends what [`encode`](Self::encode) gives to `bytes`.
    pub fn encode_into(&self, bytes: &mut Vec<u8>, family: u16, sequence: u32) {
        let length = (NETLINK_HEADER_LENGTH + self.payload.len()) as u32;
        let flags = NLM_F_REQUEST | if self.dump { NLM_F_DUMP } else { NLM_F_ACK };
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&self.fixed_family.unwrap_or(family).to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&self.payload);
    }

    /// The same question in the name of another operation, whose errors it then gives.
    pub(crate) fn on_behalf_of(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }
}
