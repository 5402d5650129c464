//! The verbs as values: what to send, and the type of the answer. Each is written once, for every client.

use std::marker::PhantomData;

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs};
use netlink_packet_generic::{GenlFamily, GenlMessage};

use crate::answer::FamilyId;
use crate::convert::{
    destination_attributes, destination_key_attributes, service_attributes, service_key_attributes,
};
use crate::wire::{Attribute, Command, Message};
use crate::{
    Destination, DestinationConfig, DestinationKey, Info, Operation, Service, ServiceConfig, ServiceKey, Verb,
};

const NETLINK_HEADER_LENGTH: usize = 16;

/// One verb with its arguments; `R` is what the kernel's answer becomes.
///
/// It knows neither the family's id nor a sequence number: both come when it is encoded.
#[derive(Debug)]
pub struct Request<R> {
    operation: Operation,
    /// The generic netlink header and the attributes.
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
    fn new<F: GenlFamily + Emitable + std::fmt::Debug>(operation: Operation, dump: bool, payload: F) -> Self {
        let message = GenlMessage::from_payload(payload);
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        let fixed_family = Some(message.family_id()).filter(|id| *id != 0);
        Self { operation, payload, fixed_family, dump, answer: PhantomData }
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
    /// `family` is the id that the running kernel gave to `IPVS`; the answer carries `sequence`.
    pub fn encode(&self, family: u16, sequence: u32) -> Vec<u8> {
        let length = NETLINK_HEADER_LENGTH + self.payload.len();
        let mut header = NetlinkHeader::default();
        header.length = length as u32;
        header.message_type = self.fixed_family.unwrap_or(family);
        header.flags = NLM_F_REQUEST | if self.dump { NLM_F_DUMP } else { NLM_F_ACK };
        header.sequence_number = sequence;
        let mut bytes = vec![0; length];
        header.emit(&mut bytes);
        bytes[NETLINK_HEADER_LENGTH..].copy_from_slice(&self.payload);
        bytes
    }

    /// The same question in the name of another operation, whose errors it then gives.
    pub(crate) fn on_behalf_of(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }
}

/// Create a service; [`Error::AlreadyExists`](crate::Error::AlreadyExists) if the key is taken.
pub fn add_service(service: &ServiceKey, config: &ServiceConfig) -> Request<()> {
    let attributes = vec![Attribute::Service(service_attributes(service, config))];
    on_service(Verb::AddService, Command::NewService, service, attributes)
}

/// Change a service to `config`, all of it: without a persistence engine, one that is there is removed.
pub fn set_service(service: &ServiceKey, config: &ServiceConfig) -> Request<()> {
    let attributes = vec![Attribute::Service(service_attributes(service, config))];
    on_service(Verb::SetService, Command::SetService, service, attributes)
}

/// Delete a service and its destinations.
pub fn delete_service(service: &ServiceKey) -> Request<()> {
    on_service(Verb::DeleteService, Command::DeleteService, service, vec![key_of(service)])
}

/// One service.
pub fn get_service(service: &ServiceKey) -> Request<Service> {
    on_service(Verb::GetService, Command::GetService, service, vec![key_of(service)])
}

/// All services of the network namespace.
pub fn list_services() -> Request<Vec<Service>> {
    let operation = Operation { verb: Verb::ListServices, service: None, destination: None };
    Request::new(operation, true, Message { command: Command::GetService, attributes: Vec::new() })
}

/// Add a destination to a service.
pub fn add_destination(
    service: &ServiceKey,
    destination: &DestinationKey,
    config: &DestinationConfig,
) -> Request<()> {
    let attributes = destination_attributes(destination, config);
    on_destination(Verb::AddDestination, Command::NewDestination, service, destination, attributes)
}

/// Change a destination to `config`, all of it.
pub fn set_destination(
    service: &ServiceKey,
    destination: &DestinationKey,
    config: &DestinationConfig,
) -> Request<()> {
    let attributes = destination_attributes(destination, config);
    on_destination(Verb::SetDestination, Command::SetDestination, service, destination, attributes)
}

/// Take a destination from a service.
pub fn delete_destination(service: &ServiceKey, destination: &DestinationKey) -> Request<()> {
    let attributes = destination_key_attributes(destination);
    on_destination(Verb::DeleteDestination, Command::DeleteDestination, service, destination, attributes)
}

/// The destinations of a service, as the kernel has them: the newest first.
///
/// The kernel gives the same empty answer for a service that does not exist; the clients ask again for the
/// service itself when the answer is empty.
pub fn list_destinations(service: &ServiceKey) -> Request<Vec<Destination>> {
    let operation = Operation { verb: Verb::ListDestinations, service: Some(*service), destination: None };
    let attributes = vec![key_of(service)];
    Request::new(operation, true, Message { command: Command::GetDestination, attributes })
}

/// The version of IPVS and the size of its connection table.
pub fn get_info() -> Request<Info> {
    let operation = Operation { verb: Verb::GetInfo, service: None, destination: None };
    Request::new(operation, false, Message { command: Command::GetInfo, attributes: Vec::new() })
}

/// The id that the kernel gave to the family; since 6.1 this loads `ip_vs`.
pub(crate) fn resolve_family() -> Request<FamilyId> {
    let operation = Operation { verb: Verb::ResolveFamily, service: None, destination: None };
    let name = GenlCtrlAttrs::FamilyName(Message::family_name().to_owned());
    Request::new(operation, false, GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] })
}

fn key_of(service: &ServiceKey) -> Attribute {
    Attribute::Service(service_key_attributes(service))
}

fn on_service<R>(
    verb: Verb,
    command: Command,
    service: &ServiceKey,
    attributes: Vec<Attribute>,
) -> Request<R> {
    let operation = Operation { verb, service: Some(*service), destination: None };
    Request::new(operation, false, Message { command, attributes })
}

fn on_destination(
    verb: Verb,
    command: Command,
    service: &ServiceKey,
    destination: &DestinationKey,
    attributes: Vec<crate::wire::DestinationAttribute>,
) -> Request<()> {
    let operation = Operation { verb, service: Some(*service), destination: Some(*destination) };
    let attributes = vec![key_of(service), Attribute::Destination(attributes)];
    Request::new(operation, false, Message { command, attributes })
}
