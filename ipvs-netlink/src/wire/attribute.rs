//! The attributes of a nest: how they are found, and how an enum of them is declared, one line for each.

use netlink_packet_core::{DecodeError, NLA_ALIGNTO, NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_HEADER_SIZE};

/// An attribute has at most one of them (`linux/netlink.h`), and `Emitable` loses one of the two.
const BOTH: u16 = NLA_F_NESTED | NLA_F_NET_BYTEORDER;

/// The attributes of a nest: each one's number with its flags, and its value.
///
/// As `NlasIterator`, whose accessors cannot be inlined: a large dump is made of these.
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let attribute = bytes.first_chunk().and_then(|&[low, high, kind @ ..]: &[u8; NLA_HEADER_SIZE]| {
            let (length, kind) = (u16::from_ne_bytes([low, high]).into(), u16::from_ne_bytes(kind));
            let value = bytes.get(NLA_HEADER_SIZE..length).filter(|_| kind & BOTH != BOTH)?;
            self.0 = bytes.get(length.next_multiple_of(NLA_ALIGNTO)..).unwrap_or_default();
            Some((kind, value))
        });
        let malformed = || {
            let reason = "does not fit, or is both a nest and in network byte order";
            format!("an attribute in the last {} bytes {reason}", bytes.len()).into()
        };
        Some(attribute.ok_or_else(malformed))
    }
}

/// `value`, if an attribute has room for it emitted as `length` bytes: what is left out or short in what was read may be
/// emitted whole, and `Emitable` panics where 16 bits do not hold the length.
pub(crate) fn that_fits<T>(value: T, length: usize) -> Result<T, DecodeError> {
    match length <= usize::from(u16::MAX) - NLA_HEADER_SIZE {
        true => Ok(value),
        false => Err(format!("a nest that is {length} bytes when it is written out").into()),
    }
}

/// Declares the attributes of a nest, `Variant(Type) = NUMBER as Form`, and all that follows from it.
macro_rules! attributes {
    ($(#[$doc:meta])* pub enum $Enum:ident {
        $($(#[$note:meta])* $Variant:ident($Type:ty) = $NUMBER:ident as $Form:ty,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $Enum {
            $($(#[$note])* $Variant($Type),)+
            /// Whatever this library has no name for.
            Other(netlink_packet_core::DefaultNla),
        }

        impl $Enum {
            /// Those of a nest.
            #[inline]
            pub(crate) fn all(
                bytes: &[u8],
            ) -> impl Iterator<Item = Result<Self, netlink_packet_core::DecodeError>> {
                $crate::wire::Attributes(bytes).map(|attribute| attribute.and_then(|(kind, value)| Self::read(kind, value)))
            }

            #[inline]
            fn read(kind: u16, value: &[u8]) -> Result<Self, netlink_packet_core::DecodeError> {
                use netlink_packet_core::{DefaultNla, ErrorContext, NLA_TYPE_MASK};
                Ok(match kind & NLA_TYPE_MASK {
                    $($NUMBER => Self::$Variant(<$Form as Form<$Type>>::read(value).context(stringify!($NUMBER))?),)+
                    _ => Self::Other(DefaultNla::new(kind, value.to_vec())),
                })
            }
        }

        impl netlink_packet_core::Nla for $Enum {
            #[inline(always)]
            fn value_len(&self) -> usize {
                match self {
                    $(Self::$Variant(value) => <$Form as Form<$Type>>::length(value),)+
                    Self::Other(nla) => nla.value_len(),
                }
            }

            #[inline(always)]
            fn kind(&self) -> u16 {
                match self {
                    $(Self::$Variant(_) => $NUMBER | <$Form as Form<$Type>>::FLAGS,)+
                    Self::Other(nla) => nla.kind(),
                }
            }

            #[inline(always)]
            fn emit_value(&self, buffer: &mut [u8]) {
                match self {
                    $(Self::$Variant(value) => <$Form as Form<$Type>>::write(value, buffer),)+
                    Self::Other(nla) => nla.emit_value(buffer),
                }
            }
        }

        impl<'a> netlink_packet_core::Parseable<netlink_packet_core::NlaBuffer<&'a [u8]>> for $Enum {
            fn parse(
                nla: &netlink_packet_core::NlaBuffer<&'a [u8]>,
            ) -> Result<Self, netlink_packet_core::DecodeError> {
                Self::all(nla.into_inner()).next().unwrap_or_else(|| Err("an empty attribute".into()))
            }
        }
    };
}
pub(crate) use attributes;
