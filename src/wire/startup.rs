//! Startup packets: the untyped frames that open a connection.
//!
//! ```text
//!    ┌──────────────┬─────────────┬──────────────────────────────┐
//!    │ length (i32) │ code (i32)  │ parameters, or a cancel key  │
//!    └──────────────┴─────────────┴──────────────────────────────┘
//! ```
//! The code is a protocol version, or one of the numbers of `pqcomm.h` that no version will ever use.

use super::Malformed;
use super::reader::Reader;

/// The longest startup packet the server reads, in bytes (`MAX_STARTUP_PACKET_LENGTH` in `pqcomm.h`),
/// without the four of its length.
pub const MAX_STARTUP_PACKET_LEN: usize = 10_000;

/// The protocol's major version, in the upper 16 bits of the code.
const MAJOR_VERSION: i32 = 3;

const CANCEL_REQUEST: i32 = 80_877_102;
const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;

/// The first byte of a TLS record that carries a handshake: a client that negotiates TLS directly starts with it.
/// No startup packet can: its length would be over 368 million bytes.
pub const TLS_HANDSHAKE: u8 = 0x16;

/// The cancel keys that the protocol allows, in bytes (`CancelRequest` in "Message Formats"; 4 before 3.2).
const CANCEL_KEY_LEN: std::ops::RangeInclusive<usize> = 4..=256;

/// What a startup packet asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupPacket<'a> {
    /// TLS, please: answered with one byte, `S` or `N`.
    SslRequest,
    /// GSSAPI encryption, please: answered with one byte.
    GssEncRequest,
    /// Cancel what the session with this process id and key is doing. Both are opaque to a proxy.
    CancelRequest,
    /// A session is to begin.
    Startup(StartupMessage<'a>),
    /// A session of a protocol that is not version 3. What the rest of the packet means only that version knows.
    OtherProtocol,
}

/// The parameters of a session that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// Protocol version: major in the upper 16 bits, minor in the lower.
    pub version: i32,
    /// Names and values in the order they were sent; a name may stand twice, the later one counts.
    pub parameters: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> StartupMessage<'a> {
    /// The value of a parameter, by its exact name: the server compares these with `strcmp`
    /// (`ProcessStartupPacket` in `backend_startup.c`).
    pub fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        self.parameters
            .iter()
            .rev()
            .find(|(n, _)| *n == name.as_bytes())
            .map(|(_, value)| *value)
    }

    /// Whether this is a walsender: any `replication` value but the ones that mean off
    /// (`ProcessStartupPacket`: `database`, or a boolean).
    pub fn asks_for_replication(&self) -> bool {
        self.parameter("replication").is_some_and(|value| {
            let off = ["false", "off", "no", "0", "f", "n", "of", "fa", "fal", "fals"];
            !off.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
        })
    }
}

/// The announced length of the packet at the front of `bytes`, its own four bytes included;
/// `None` when they are not all there.
pub fn announced_len(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk::<4>().map(|field| i32::from_be_bytes(*field))
}

/// Reads a whole startup packet, length included.
///
/// As in the server, what stands behind the code of an encryption request does not count.
///
/// # Errors
/// [`Malformed`] where the server would close the connection with "invalid startup packet layout", or without a word
/// as the cancel key has no length that it could have. One layout that the server lets pass is refused as well: a last
/// byte that should have been the terminator and is not.
pub fn parse(packet: &[u8]) -> Result<StartupPacket<'_>, Malformed> {
    let mut reader = Reader::new("startup", packet);
    reader.i32()?;
    match reader.i32()? {
        SSL_REQUEST => Ok(StartupPacket::SslRequest),
        GSSENC_REQUEST => Ok(StartupPacket::GssEncRequest),
        CANCEL_REQUEST => {
            reader.i32()?;
            if CANCEL_KEY_LEN.contains(&reader.rest().len()) {
                Ok(StartupPacket::CancelRequest)
            } else {
                Err(reader.malformed("a cancel key of a length that does not exist"))
            }
        }
        version if version >> 16 == MAJOR_VERSION => parameters(reader, version).map(StartupPacket::Startup),
        _ => Ok(StartupPacket::OtherProtocol),
    }
}

fn parameters(mut reader: Reader<'_>, version: i32) -> Result<StartupMessage<'_>, Malformed> {
    let mut parameters = Vec::new();
    loop {
        let name = reader.string()?;
        if name.is_empty() {
            break;
        }
        parameters.push((name, reader.string()?));
    }
    if reader.rest().is_empty() {
        Ok(StartupMessage { version, parameters })
    } else {
        Err(reader.malformed("bytes behind the last parameter"))
    }
}

/// Whether a packet, malformed or not, wants to be a cancel request.
pub fn is_cancel_request(packet: &[u8]) -> bool {
    packet.get(4..8) == Some(&CANCEL_REQUEST.to_be_bytes()[..])
}

/// The packet that asks for TLS.
pub fn ssl_request() -> [u8; 8] {
    let mut packet = [0; 8];
    packet[..4].copy_from_slice(&8_i32.to_be_bytes());
    packet[4..].copy_from_slice(&SSL_REQUEST.to_be_bytes());
    packet
}

/// A startup packet with these parameters.
pub fn startup_packet<'a>(
    version: i32,
    parameters: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<u8> {
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&version.to_be_bytes());
    for (name, value) in parameters {
        super::frame::write_string(&mut packet, name);
        super::frame::write_string(&mut packet, value);
    }
    packet.push(0);
    let length = i32::try_from(packet.len()).unwrap_or(i32::MAX);
    packet[..4].copy_from_slice(&length.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
        startup_packet(
            3 << 16,
            parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())),
        )
    }

    #[test]
    fn parameters_keep_their_order_and_the_last_of_a_name_counts() {
        let packet = startup(&[("user", "a"), ("bemi.context", "{}"), ("user", "b")]);
        let Ok(StartupPacket::Startup(message)) = parse(&packet) else {
            panic!("no startup message")
        };
        assert_eq!(message.version, 3 << 16);
        assert_eq!(message.parameters.len(), 3);
        assert_eq!(message.parameter("user"), Some(&b"b"[..]));
        assert_eq!(message.parameter("database"), None);
    }

    #[test]
    fn encryption_requests_are_told_apart_by_their_code() {
        assert_eq!(parse(&ssl_request()), Ok(StartupPacket::SslRequest));
        assert_eq!(
            parse(&[0, 0, 0, 8, 4, 210, 22, 48]),
            Ok(StartupPacket::GssEncRequest)
        );
        assert_eq!(
            parse(&[0, 0, 0, 9, 4, 210, 22, 47, 0]),
            Ok(StartupPacket::SslRequest),
            "with a byte behind the code"
        );
    }

    #[test]
    fn another_major_version_is_not_looked_into() {
        for version in [2 << 16, 4 << 16, (1234 << 16) | 5677, -1] {
            let packet = startup_packet(version, [(&b"user"[..], &b"a"[..])]);
            assert_eq!(parse(&packet), Ok(StartupPacket::OtherProtocol), "{version}");
        }
        let packet = startup_packet((3 << 16) | 9999, [(&b"user"[..], &b"a"[..])]);
        assert!(matches!(parse(&packet), Ok(StartupPacket::Startup(_))));
    }

    #[test]
    fn cancel_keys_may_be_4_to_256_bytes_long() {
        for (len, accepted) in [
            (0, false),
            (3, false),
            (4, true),
            (32, true),
            (256, true),
            (257, false),
        ] {
            let mut packet = vec![0, 0, 0, 0, 4, 210, 22, 46, 0, 0, 0, 1];
            packet.resize(12 + len, 7);
            assert_eq!(parse(&packet).is_ok(), accepted, "a key of {len} bytes");
        }
    }

    #[test]
    fn a_packet_cut_short_anywhere_is_malformed() {
        let packet = startup(&[("user", "a"), ("database", "b")]);
        for n in 0..packet.len() {
            assert!(parse(&packet[..n]).is_err(), "{n} bytes of {}", packet.len());
        }
    }

    #[test]
    fn replication_is_on_for_database_and_true_only() {
        for (value, on) in [
            ("database", true),
            ("true", true),
            ("on", true),
            ("1", true),
            ("off", false),
            ("0", false),
        ] {
            let packet = startup(&[("user", "a"), ("replication", value)]);
            let Ok(StartupPacket::Startup(message)) = parse(&packet) else {
                panic!("no startup message")
            };
            assert_eq!(message.asks_for_replication(), on, "replication={value}");
        }
    }
}
