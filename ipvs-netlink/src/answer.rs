//! How the messages of an answer become its value.

use netlink_packet_core::{NLA_TYPE_MASK, NlasIterator, ParseableParametrized, parse_u16};
use netlink_packet_generic::GenlHeader;

use crate::uapi::*;
use crate::wire::{Attributes, DaemonAttribute, DestinationAttribute, Message, ServiceAttribute};
use crate::{Daemon, DecodeError, Destination, Info, Service, Timeouts, convert};

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
        daemons.push(daemon(payload)?);
        Ok(())
    }

    fn finish(daemons: Self) -> Result<Self, Flaw> {
        without_repetition(daemons, |daemon| daemon.role)
    }
}

impl gather::Gather for Vec<Service> {
    type Partial = Self;

    fn gather(services: &mut Self, payload: &[u8]) -> Result<(), Flaw> {
        services.push(service(payload)?);
        Ok(())
    }

    fn finish(services: Self) -> Result<Self, Flaw> {
        without_repetition(services, |service| service.key)
    }
}

impl gather::Gather for Vec<Destination> {
    type Partial = Self;

    fn gather(destinations: &mut Self, payload: &[u8]) -> Result<(), Flaw> {
        destinations.push(destination(payload)?);
        Ok(())
    }

    fn finish(destinations: Self) -> Result<Self, Flaw> {
        without_repetition(destinations, |destination| destination.key)
    }

    fn is_doubtful(&self) -> bool {
        self.is_empty()
    }
}

/// The entries, if no two of them have the same key.
fn without_repetition<T, K: Ord>(entries: Vec<T>, key: impl Fn(&T) -> K) -> Result<Vec<T>, Flaw> {
    let mut keys: Vec<K> = entries.iter().map(key).collect();
    keys.sort_unstable();
    match keys.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(Flaw::Repeated),
        false => Ok(entries),
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

/// The nest `number` of a message.
fn nest<'a>(payload: &'a [u8], number: u16, name: &'static str) -> Result<&'a [u8], DecodeError> {
    let (_, attributes) = split_header(payload)?;
    for attribute in Attributes(attributes) {
        let (kind, value) = attribute?;
        if kind & NLA_TYPE_MASK == number {
            return Ok(value);
        }
    }
    Err(DecodeError::Missing(name))
}

fn service(payload: &[u8]) -> Result<Service, DecodeError> {
    let nest = nest(payload, IPVS_CMD_ATTR_SERVICE, "IPVS_CMD_ATTR_SERVICE")?;
    convert::service(ServiceAttribute::all(nest))
}

fn destination(payload: &[u8]) -> Result<Destination, DecodeError> {
    let nest = nest(payload, IPVS_CMD_ATTR_DEST, "IPVS_CMD_ATTR_DEST")?;
    convert::destination(DestinationAttribute::all(nest))
}

fn daemon(payload: &[u8]) -> Result<Daemon, DecodeError> {
    let nest = nest(payload, IPVS_CMD_ATTR_DAEMON, "IPVS_CMD_ATTR_DAEMON")?;
    convert::daemon(DaemonAttribute::all(nest))
}
