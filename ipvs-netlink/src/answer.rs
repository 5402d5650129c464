//! How the messages of an answer become its value.

use std::collections::HashSet;

use netlink_packet_core::{NlasIterator, ParseableParametrized, parse_u16};
use netlink_packet_generic::GenlHeader;

use crate::wire::{Attribute, Message};
use crate::{Daemon, DecodeError, Destination, DestinationKey, Info, Service, ServiceKey, Timeouts};

const GENL_HEADER_LENGTH: usize = 4;
const CTRL_ATTR_FAMILY_ID: u16 = 1;

/// What the kernel answers to a [`Request`](crate::Request); implemented by this library alone.
pub trait Answer: gather::Gather {}

impl<R: gather::Gather> Answer for R {}

/// What makes an answer worthless.
#[derive(Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It cannot be read.
    Decode(DecodeError),
    /// It has an entry twice: the table changed under the dump, and others may be missing.
    Repeated,
}

impl<E: Into<DecodeError>> From<E> for Flaw {
    fn from(error: E) -> Self {
        Self::Decode(error.into())
    }
}

/// Seals [`Answer`].
pub mod gather {
    use super::Flaw;

    /// How one type is gathered from the payloads (generic netlink header and attributes) of messages.
    pub trait Gather: Sized + Send {
        /// What has been read so far.
        type Partial: Default + Send;
        /// Reads one more message.
        fn gather(partial: &mut Self::Partial, payload: &[u8]) -> Result<(), Flaw>;
        /// There are no more.
        fn finish(partial: Self::Partial) -> Result<Self, Flaw>;
        /// Whether the kernel gives this answer for a service that does not exist, too.
        fn is_doubtful(&self) -> bool {
            false
        }
    }
}

/// The id of the family `IPVS`.
pub(crate) struct FamilyId(pub u16);

impl gather::Gather for () {
    type Partial = ();

    fn gather((): &mut (), _: &[u8]) -> Result<(), Flaw> {
        Err(DecodeError::Malformed("a message where only an acknowledgement belongs".to_owned()).into())
    }

    fn finish((): ()) -> Result<(), Flaw> {
        Ok(())
    }
}

impl gather::Gather for FamilyId {
    type Partial = Option<Self>;

    fn gather(partial: &mut Option<Self>, payload: &[u8]) -> Result<(), Flaw> {
        let (_, attributes) = split_header(payload)?;
        for nla in NlasIterator::new(attributes) {
            let nla = nla?;
            if nla.kind() == CTRL_ATTR_FAMILY_ID {
                *partial = Some(Self(parse_u16(nla.value())?));
            }
        }
        Ok(())
    }

    fn finish(partial: Option<Self>) -> Result<Self, Flaw> {
        Ok(partial.ok_or(DecodeError::Missing("CTRL_ATTR_FAMILY_ID"))?)
    }
}

impl gather::Gather for Service {
    type Partial = Option<Self>;

    fn gather(partial: &mut Option<Self>, payload: &[u8]) -> Result<(), Flaw> {
        *partial = Some(service(payload)?);
        Ok(())
    }

    fn finish(partial: Option<Self>) -> Result<Self, Flaw> {
        Ok(partial.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_SERVICE"))?)
    }
}

impl gather::Gather for Info {
    type Partial = Option<Self>;

    fn gather(partial: &mut Option<Self>, payload: &[u8]) -> Result<(), Flaw> {
        *partial = Some(message(payload)?.try_into()?);
        Ok(())
    }

    fn finish(partial: Option<Self>) -> Result<Self, Flaw> {
        Ok(partial.ok_or(DecodeError::Missing("IPVS_INFO_ATTR_VERSION"))?)
    }
}

impl gather::Gather for Timeouts {
    type Partial = Option<Self>;

    fn gather(partial: &mut Option<Self>, payload: &[u8]) -> Result<(), Flaw> {
        *partial = Some(message(payload)?.into());
        Ok(())
    }

    fn finish(partial: Option<Self>) -> Result<Self, Flaw> {
        Ok(partial.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_TIMEOUT_UDP"))?)
    }
}

impl gather::Gather for Vec<Daemon> {
    type Partial = Self;

    fn gather(daemons: &mut Self, payload: &[u8]) -> Result<(), Flaw> {
        let daemon = daemon(payload)?;
        if daemons.iter().any(|earlier| earlier.role == daemon.role) {
            return Err(Flaw::Repeated);
        }
        daemons.push(daemon);
        Ok(())
    }

    fn finish(daemons: Self) -> Result<Self, Flaw> {
        Ok(daemons)
    }
}

impl gather::Gather for Vec<Service> {
    type Partial = (Self, HashSet<ServiceKey>);

    fn gather((services, keys): &mut Self::Partial, payload: &[u8]) -> Result<(), Flaw> {
        let service = service(payload)?;
        if !keys.insert(service.key) {
            return Err(Flaw::Repeated);
        }
        services.push(service);
        Ok(())
    }

    fn finish((services, _): Self::Partial) -> Result<Self, Flaw> {
        Ok(services)
    }
}

impl gather::Gather for Vec<Destination> {
    type Partial = (Self, HashSet<DestinationKey>);

    fn gather((destinations, keys): &mut Self::Partial, payload: &[u8]) -> Result<(), Flaw> {
        let destination = destination(payload)?;
        if !keys.insert(destination.key) {
            return Err(Flaw::Repeated);
        }
        destinations.push(destination);
        Ok(())
    }

    fn finish((destinations, _): Self::Partial) -> Result<Self, Flaw> {
        Ok(destinations)
    }

    fn is_doubtful(&self) -> bool {
        self.is_empty()
    }
}

fn split_header(payload: &[u8]) -> Result<(GenlHeader, &[u8]), DecodeError> {
    let header = GenlHeader::parse(payload)?;
    Ok((header, &payload[GENL_HEADER_LENGTH..]))
}

fn message(payload: &[u8]) -> Result<Message, DecodeError> {
    let (header, attributes) = split_header(payload)?;
    Ok(Message::parse_with_param(attributes, header)?)
}

fn service(payload: &[u8]) -> Result<Service, DecodeError> {
    let attributes = message(payload)?.attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::Service(attributes) => Some(attributes),
        _ => None,
    });
    attributes.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_SERVICE"))?.try_into()
}

fn destination(payload: &[u8]) -> Result<Destination, DecodeError> {
    let attributes = message(payload)?.attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::Destination(attributes) => Some(attributes),
        _ => None,
    });
    attributes.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_DEST"))?.try_into()
}

fn daemon(payload: &[u8]) -> Result<Daemon, DecodeError> {
    let attributes = message(payload)?.attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::Daemon(attributes) => Some(attributes),
        _ => None,
    });
    attributes.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_DAEMON"))?.try_into()
}
