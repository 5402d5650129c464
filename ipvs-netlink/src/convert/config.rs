//! The time-outs and the information between messages and values.

use super::need;
use crate::wire::{Attribute, Command, Message};
use crate::write::Sink;
use crate::{DecodeError, Info, Timeouts, Version};

/// The time-outs that are some; the unknown attributes last.
pub(crate) fn timeout_attributes(timeouts: &Timeouts, sink: &mut impl Sink<Attribute>) {
    let known = [
        timeouts.tcp.map(Attribute::TimeoutTcp),
        timeouts.tcp_fin.map(Attribute::TimeoutTcpFin),
        timeouts.udp.map(Attribute::TimeoutUdp),
    ];
    let unknown = timeouts.unknown.iter().cloned().map(Attribute::Other);
    known.into_iter().flatten().chain(unknown).for_each(|attribute| sink.put(attribute));
}

impl From<Timeouts> for Message {
    /// As the kernel tells them.
    fn from(timeouts: Timeouts) -> Self {
        let mut attributes = Vec::new();
        timeout_attributes(&timeouts, &mut attributes);
        Self { command: Command::SetConfig, attributes }
    }
}

impl From<Message> for Timeouts {
    fn from(message: Message) -> Self {
        let mut timeouts = Self::default();
        for attribute in message.attributes {
            match attribute {
                Attribute::TimeoutTcp(seconds) => timeouts.tcp = Some(seconds),
                Attribute::TimeoutTcpFin(seconds) => timeouts.tcp_fin = Some(seconds),
                Attribute::TimeoutUdp(seconds) => timeouts.udp = Some(seconds),
                Attribute::Other(nla) => timeouts.unknown.push(nla),
                _ => {}
            }
        }
        timeouts
    }
}

impl From<Info> for Message {
    /// As the kernel tells it, the unknown attributes last.
    fn from(info: Info) -> Self {
        let known =
            [Attribute::Version(info.version.0), Attribute::ConnectionTableSize(info.connection_table_size)];
        let unknown = info.unknown.into_iter().map(Attribute::Other);
        Self { command: Command::SetInfo, attributes: known.into_iter().chain(unknown).collect() }
    }
}

impl TryFrom<Message> for Info {
    type Error = DecodeError;

    fn try_from(message: Message) -> Result<Self, DecodeError> {
        let (mut version, mut size, mut unknown) = (None, None, Vec::new());
        for attribute in message.attributes {
            match attribute {
                Attribute::Version(value) => version = Some(Version(value)),
                Attribute::ConnectionTableSize(value) => size = Some(value),
                Attribute::Other(nla) => unknown.push(nla),
                _ => {}
            }
        }
        Ok(Self {
            version: need(version, "IPVS_INFO_ATTR_VERSION")?,
            connection_table_size: need(size, "IPVS_INFO_ATTR_CONN_TAB_SIZE")?,
            unknown,
        })
    }
}
