//! The generic netlink message of the family `IPVS`: a command and its top-level attributes.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, NLA_TYPE_MASK, Nla, NlaBuffer,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use super::attribute::{Attributes, that_fits};
use super::form::{Form, Plain};
use super::{DaemonAttribute, DestinationAttribute, ServiceAttribute};
use crate::uapi::*;

/// A message of the family `IPVS`, version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What to do, or what the kernel tells.
    pub command: Command,
    /// The top-level attributes, in their order on the wire.
    pub attributes: Vec<Attribute>,
}

/// `IPVS_CMD_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `IPVS_CMD_NEW_SERVICE`; also what the kernel answers to `GetService` with.
    NewService,
    /// `IPVS_CMD_SET_SERVICE`.
    SetService,
    /// `IPVS_CMD_DEL_SERVICE`.
    DeleteService,
    /// `IPVS_CMD_GET_SERVICE`: one with the service's key, all as a dump.
    GetService,
    /// `IPVS_CMD_NEW_DEST`; also what the kernel answers to `GetDestination` with.
    NewDestination,
    /// `IPVS_CMD_SET_DEST`.
    SetDestination,
    /// `IPVS_CMD_DEL_DEST`.
    DeleteDestination,
    /// `IPVS_CMD_GET_DEST`: a dump only.
    GetDestination,
    /// `IPVS_CMD_NEW_DAEMON`; also what the kernel answers to `GetDaemon` with.
    NewDaemon,
    /// `IPVS_CMD_DEL_DAEMON`.
    DeleteDaemon,
    /// `IPVS_CMD_GET_DAEMON`: a dump only.
    GetDaemon,
    /// `IPVS_CMD_SET_CONFIG`; also what the kernel answers to `GetConfig` with.
    SetConfig,
    /// `IPVS_CMD_GET_CONFIG`.
    GetConfig,
    /// `IPVS_CMD_SET_INFO`: what the kernel answers to `GetInfo` with; never a request.
    SetInfo,
    /// `IPVS_CMD_GET_INFO`.
    GetInfo,
    /// `IPVS_CMD_ZERO`: with a service's key its counters, without all.
    Zero,
    /// `IPVS_CMD_FLUSH`.
    Flush,
    /// A command that this library has no name for.
    Other(u8),
}

impl From<u8> for Command {
    fn from(number: u8) -> Self {
        match number {
            IPVS_CMD_NEW_SERVICE => Self::NewService,
            IPVS_CMD_SET_SERVICE => Self::SetService,
            IPVS_CMD_DEL_SERVICE => Self::DeleteService,
            IPVS_CMD_GET_SERVICE => Self::GetService,
            IPVS_CMD_NEW_DEST => Self::NewDestination,
            IPVS_CMD_SET_DEST => Self::SetDestination,
            IPVS_CMD_DEL_DEST => Self::DeleteDestination,
            IPVS_CMD_GET_DEST => Self::GetDestination,
            IPVS_CMD_NEW_DAEMON => Self::NewDaemon,
            IPVS_CMD_DEL_DAEMON => Self::DeleteDaemon,
            IPVS_CMD_GET_DAEMON => Self::GetDaemon,
            IPVS_CMD_SET_CONFIG => Self::SetConfig,
            IPVS_CMD_GET_CONFIG => Self::GetConfig,
            IPVS_CMD_SET_INFO => Self::SetInfo,
            IPVS_CMD_GET_INFO => Self::GetInfo,
            IPVS_CMD_ZERO => Self::Zero,
            IPVS_CMD_FLUSH => Self::Flush,
            other => Self::Other(other),
        }
    }
}

impl From<Command> for u8 {
    fn from(command: Command) -> Self {
        match command {
            Command::NewService => IPVS_CMD_NEW_SERVICE,
            Command::SetService => IPVS_CMD_SET_SERVICE,
            Command::DeleteService => IPVS_CMD_DEL_SERVICE,
            Command::GetService => IPVS_CMD_GET_SERVICE,
            Command::NewDestination => IPVS_CMD_NEW_DEST,
            Command::SetDestination => IPVS_CMD_SET_DEST,
            Command::DeleteDestination => IPVS_CMD_DEL_DEST,
            Command::GetDestination => IPVS_CMD_GET_DEST,
            Command::NewDaemon => IPVS_CMD_NEW_DAEMON,
            Command::DeleteDaemon => IPVS_CMD_DEL_DAEMON,
            Command::GetDaemon => IPVS_CMD_GET_DAEMON,
            Command::SetConfig => IPVS_CMD_SET_CONFIG,
            Command::GetConfig => IPVS_CMD_GET_CONFIG,
            Command::SetInfo => IPVS_CMD_SET_INFO,
            Command::GetInfo => IPVS_CMD_GET_INFO,
            Command::Zero => IPVS_CMD_ZERO,
            Command::Flush => IPVS_CMD_FLUSH,
            Command::Other(other) => other,
        }
    }
}

/// A top-level attribute. Its number means `IPVS_INFO_ATTR_*` under [`Command::SetInfo`] and
/// `IPVS_CMD_ATTR_*` under all other commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// `IPVS_CMD_ATTR_SERVICE`.
    Service(Vec<ServiceAttribute>),
    /// `IPVS_CMD_ATTR_DEST`.
    Destination(Vec<DestinationAttribute>),
    /// `IPVS_CMD_ATTR_DAEMON`.
    Daemon(Vec<DaemonAttribute>),
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP`, in seconds.
    TimeoutTcp(u32),
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP_FIN`, in seconds.
    TimeoutTcpFin(u32),
    /// `IPVS_CMD_ATTR_TIMEOUT_UDP`, in seconds.
    TimeoutUdp(u32),
    /// `IPVS_INFO_ATTR_VERSION`.
    Version(u32),
    /// `IPVS_INFO_ATTR_CONN_TAB_SIZE`.
    ConnectionTableSize(u32),
    /// Whatever this library has no name for.
    Other(DefaultNla),
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Service(nest) => nest.as_slice().buffer_len(),
            Self::Destination(nest) => nest.as_slice().buffer_len(),
            Self::Daemon(nest) => nest.as_slice().buffer_len(),
            Self::TimeoutTcp(_)
            | Self::TimeoutTcpFin(_)
            | Self::TimeoutUdp(_)
            | Self::Version(_)
            | Self::ConnectionTableSize(_) => 4,
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Service(_) => IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED,
            Self::Destination(_) => IPVS_CMD_ATTR_DEST | NLA_F_NESTED,
            Self::Daemon(_) => IPVS_CMD_ATTR_DAEMON | NLA_F_NESTED,
            Self::TimeoutTcp(_) => IPVS_CMD_ATTR_TIMEOUT_TCP,
            Self::TimeoutTcpFin(_) => IPVS_CMD_ATTR_TIMEOUT_TCP_FIN,
            Self::TimeoutUdp(_) => IPVS_CMD_ATTR_TIMEOUT_UDP,
            Self::Version(_) => IPVS_INFO_ATTR_VERSION,
            Self::ConnectionTableSize(_) => IPVS_INFO_ATTR_CONN_TAB_SIZE,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Service(nest) => nest.as_slice().emit(buffer),
            Self::Destination(nest) => nest.as_slice().emit(buffer),
            Self::Daemon(nest) => nest.as_slice().emit(buffer),
            Self::TimeoutTcp(value)
            | Self::TimeoutTcpFin(value)
            | Self::TimeoutUdp(value)
            | Self::Version(value)
            | Self::ConnectionTableSize(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a> ParseableParametrized<NlaBuffer<&'a [u8]>, Command> for Attribute {
    fn parse_with_param(nla: &NlaBuffer<&'a [u8]>, command: Command) -> Result<Self, DecodeError> {
        let attribute = Attributes(nla.into_inner()).next();
        let (kind, value) = attribute.unwrap_or_else(|| Err("an empty attribute".into()))?;
        Self::read(command, kind, value)
    }
}

impl Attribute {
    fn read(command: Command, kind: u16, value: &[u8]) -> Result<Self, DecodeError> {
        let number = |name| Plain::read(value).context(name);
        Ok(match (command, kind & NLA_TYPE_MASK) {
            (Command::SetInfo, IPVS_INFO_ATTR_VERSION) => Self::Version(number("IPVS_INFO_ATTR_VERSION")?),
            (Command::SetInfo, IPVS_INFO_ATTR_CONN_TAB_SIZE) => {
                Self::ConnectionTableSize(number("IPVS_INFO_ATTR_CONN_TAB_SIZE")?)
            }
            (Command::SetInfo, _) => Self::Other(DefaultNla::new(kind, value.to_vec())),
            (_, IPVS_CMD_ATTR_SERVICE) => {
                Self::Service(nest(ServiceAttribute::all(value)).context("IPVS_CMD_ATTR_SERVICE")?)
            }
            (_, IPVS_CMD_ATTR_DEST) => {
                Self::Destination(nest(DestinationAttribute::all(value)).context("IPVS_CMD_ATTR_DEST")?)
            }
            (_, IPVS_CMD_ATTR_DAEMON) => {
                Self::Daemon(nest(DaemonAttribute::all(value)).context("IPVS_CMD_ATTR_DAEMON")?)
            }
            (_, IPVS_CMD_ATTR_TIMEOUT_TCP) => Self::TimeoutTcp(number("IPVS_CMD_ATTR_TIMEOUT_TCP")?),
            (_, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN) => {
                Self::TimeoutTcpFin(number("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")?)
            }
            (_, IPVS_CMD_ATTR_TIMEOUT_UDP) => Self::TimeoutUdp(number("IPVS_CMD_ATTR_TIMEOUT_UDP")?),
            _ => Self::Other(DefaultNla::new(kind, value.to_vec())),
        })
    }
}

/// The attributes of a nest.
fn nest<A: Nla>(attributes: impl Iterator<Item = Result<A, DecodeError>>) -> Result<Vec<A>, DecodeError> {
    let attributes: Vec<A> = attributes.collect::<Result<_, _>>()?;
    let length = attributes.as_slice().buffer_len();
    that_fits(attributes, length)
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        IPVS_GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command.into()
    }

    fn version(&self) -> u8 {
        IPVS_GENL_VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let command = Command::from(header.cmd);
        let read = |attribute: Result<(u16, &[u8]), _>| {
            attribute.and_then(|(kind, value)| Attribute::read(command, kind, value))
        };
        Ok(Self { command, attributes: Attributes(bytes).map(read).collect::<Result<_, _>>()? })
    }
}
