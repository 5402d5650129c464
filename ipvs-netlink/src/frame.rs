//! The messages of one datagram, told apart, and the kernel's extended acknowledgement.

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NlasIterator,
};

use crate::DecodeError;

const NLMSG_ALIGNTO: usize = 4;
const NETLINK_HEADER_LENGTH: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One netlink message of an answer.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// That of the request it answers.
    pub sequence: u32,
    /// `NLM_F_DUMP_INTR`: the table changed while it was dumped.
    pub interrupted: bool,
    pub content: Content<'a>,
}

#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// `NLMSG_ERROR`: the request is done, with this errno (positive) or 0.
    Ack { errno: i32, text: Option<String> },
    /// `NLMSG_DONE`: the dump is over, with this errno (positive) or 0.
    Done { errno: i32, text: Option<String> },
    /// `NLMSG_OVERRUN`: something was lost.
    Overrun,
    /// `NLMSG_NOOP`.
    Nothing,
    /// The generic netlink header and the attributes.
    Payload(&'a [u8]),
}

/// The frames of `datagram`; an error is the last item.
pub(crate) fn frames(datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = take(&mut rest).and_then(frame);
        if frame.is_err() {
            rest = &[];
        }
        Some(frame)
    })
}

/// Takes the first message off `rest`.
fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = field(rest, 0).map(u32::from_ne_bytes).unwrap_or_default() as usize;
    let message = rest.get(..length).filter(|_| length >= NETLINK_HEADER_LENGTH).ok_or_else(|| {
        DecodeError::Malformed(format!("a message that says it has {length} bytes, in {}", rest.len()))
    })?;
    *rest = rest.get(length.next_multiple_of(NLMSG_ALIGNTO)..).unwrap_or_default();
    Ok(message)
}

/// The `N` bytes at `offset`.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

/// One message; `bytes` is exactly as long as its header says (`struct nlmsghdr`).
fn frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let header = |offset| field(bytes, offset).map(u16::from_ne_bytes).unwrap_or_default();
    let (message_type, flags) = (header(4), header(6));
    let sequence = field(bytes, 8).map(u32::from_ne_bytes).unwrap_or_default();
    let payload = &bytes[NETLINK_HEADER_LENGTH..];
    let code = || {
        let code = field(payload, 0).map(i32::from_ne_bytes);
        code.map(i32::saturating_abs).ok_or(DecodeError::Missing("errno of a netlink error or end"))
    };
    let content = match message_type {
        NLMSG_ERROR => {
            let errno = code()?;
            let tlvs = (flags & NLM_F_ACK_TLVS != 0)
                .then(|| after_request(&payload[4..], flags & NLM_F_CAPPED != 0))
                .flatten();
            Content::Ack { errno, text: tlvs.and_then(message_text) }
        }
        // The kernel may leave the code out.
        NLMSG_DONE if payload.is_empty() => Content::Done { errno: 0, text: None },
        NLMSG_DONE => Content::Done { errno: code()?, text: message_text(&payload[4..]) },
        NLMSG_OVERRUN => Content::Overrun,
        NLMSG_NOOP => Content::Nothing,
        _ => Content::Payload(payload),
    };
    Ok(Frame { sequence, interrupted: flags & NLM_F_DUMP_INTR != 0, content })
}

/// What follows the request that an error message quotes, whole or (capped) its header alone.
fn after_request(quoted: &[u8], capped: bool) -> Option<&[u8]> {
    let length = match capped {
        true => NETLINK_HEADER_LENGTH,
        false => (u32::from_ne_bytes(field(quoted, 0)?) as usize).checked_next_multiple_of(NLMSG_ALIGNTO)?,
    };
    quoted.get(length..)
}

/// The text in the attributes of an extended acknowledgement; a malformed one has none.
fn message_text(tlvs: &[u8]) -> Option<String> {
    let nla = NlasIterator::new(tlvs).map_while(Result::ok).find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?;
    let text = nla.value().split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}
