//! The messages of a login, read and written.
//!
//! Every authentication request of the server has the type byte `R` and a number; every answer of the
//! client has the type byte `p` and means whatever was asked (manual, *Message Formats*). Readers
//! borrow from the body and never trust a length; a crate's decoder would know fewer requests than the
//! server has (GSS, SSPI) and refuse those that only pass through.

use super::error::AuthError;
use crate::wire::backend::tag::AUTHENTICATION;
use crate::wire::frame::{write_frame, write_string};
use crate::wire::frontend::tag::PASSWORD;

/// Longest authentication message taken from either side, in bytes with its length field:
/// the server's own `PG_MAX_AUTH_TOKEN_LENGTH` (`libpq/auth.h`).
pub const MAX_AUTHENTICATION_MESSAGE_LENGTH: usize = 65_535;

/// Longest SCRAM message taken from a client, in bytes: `PG_MAX_SASL_MESSAGE_LENGTH` (`libpq/sasl.h`).
pub(super) const MAX_SASL_MESSAGE_LENGTH: usize = 1024;

pub(super) const SCRAM_SHA_256: &[u8] = b"SCRAM-SHA-256";
pub(super) const SCRAM_SHA_256_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// One message: type byte and what follows the length field.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Type byte.
    pub tag: u8,
    /// Without type byte and length field.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// The bytes it came in: type, length, body.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        frame(self.tag, |body| body.extend_from_slice(self.body))
    }
}

/// AuthenticationXXX, by the number that the server sends (`libpq/protocol.h`, `AUTH_REQ_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationRequest<'a> {
    /// 0: the login succeeded.
    Ok,
    /// 3
    CleartextPassword,
    /// 5
    Md5Password {
        /// Random, chosen by the server.
        salt: [u8; 4],
    },
    /// 7
    Gss,
    /// 8
    GssContinue,
    /// 9
    Sspi,
    /// 10: names, each ended by a zero byte, the list by another.
    Sasl(Mechanisms<'a>),
    /// 11
    SaslContinue(&'a [u8]),
    /// 12
    SaslFinal(&'a [u8]),
    /// Anything else: obsolete (2 Kerberos V5, 6 SCM) or newer than this code.
    Other(u32),
}

impl<'a> AuthenticationRequest<'a> {
    /// Reads the body of a message of type `R`.
    ///
    /// # Errors
    /// When the body is shorter than its number says it must be.
    pub fn decode(body: &'a [u8]) -> Result<Self, AuthError> {
        let (code, rest) = body
            .split_first_chunk::<4>()
            .ok_or(AuthError::MalformedServerMessage(
                "no authentication request code",
            ))?;
        Ok(match u32::from_be_bytes(*code) {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password {
                salt: rest
                    .try_into()
                    .map_err(|_| AuthError::MalformedServerMessage("an MD5 salt is 4 bytes"))?,
            },
            7 => Self::Gss,
            8 => Self::GssContinue,
            9 => Self::Sspi,
            10 => Self::Sasl(Mechanisms::decode(rest)?),
            11 => Self::SaslContinue(rest),
            12 => Self::SaslFinal(rest),
            code => Self::Other(code),
        })
    }

    /// Whether the server now waits for a message of the client. After `Ok` and `SaslFinal` it does not.
    pub(super) fn awaits_answer(self) -> bool {
        !matches!(self, Self::Ok | Self::SaslFinal(_))
    }

    /// How to call it in an error message.
    pub(super) fn name(self) -> String {
        match self {
            Self::Ok => "no".to_owned(),
            Self::CleartextPassword => "cleartext password".to_owned(),
            Self::Md5Password { .. } => "MD5 password".to_owned(),
            Self::Gss | Self::GssContinue => "GSSAPI".to_owned(),
            Self::Sspi => "SSPI".to_owned(),
            Self::Sasl(mechanisms) => format!("SASL ({mechanisms})"),
            Self::SaslContinue(_) | Self::SaslFinal(_) => "SASL".to_owned(),
            Self::Other(code) => format!("unknown (code {code})"),
        }
    }
}

/// The names in an AuthenticationSASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    fn decode(list: &'a [u8]) -> Result<Self, AuthError> {
        match list {
            [0] => Ok(Self(&[])),
            [names @ .., 0, 0] => Ok(Self(names)),
            _ => Err(AuthError::MalformedServerMessage(
                "the list of SASL mechanisms has no end",
            )),
        }
    }

    /// The names, in the server's order.
    pub fn names(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == 0).filter(|name| !name.is_empty())
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn offers(self, name: &[u8]) -> bool {
        self.names().any(|offered| offered == name)
    }
}

impl std::fmt::Display for Mechanisms<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, name) in self.names().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", name.escape_ascii())?;
        }
        Ok(())
    }
}

/// SASLInitialResponse: the client's choice, and perhaps its first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SaslInitialResponse<'a> {
    pub mechanism: &'a [u8],
    /// `None` when the client sent the length -1: no response yet, which is not an empty one.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Reads the body of the first message of type `p` of a SASL exchange.
    pub fn decode(body: &'a [u8]) -> Result<Self, AuthError> {
        let end =
            memchr::memchr(0, body).ok_or(AuthError::MalformedClientMessage("invalid string in message"))?;
        let (mechanism, rest) = body.split_at(end);
        let (length, data) = rest.get(1..).and_then(<[u8]>::split_first_chunk::<4>).ok_or(
            AuthError::MalformedClientMessage("insufficient data left in message"),
        )?;
        let length = i32::from_be_bytes(*length);
        if length == -1 && data.is_empty() {
            return Ok(Self {
                mechanism,
                data: None,
            });
        }
        let wanted = usize::try_from(length).unwrap_or(if length == -1 { 0 } else { usize::MAX });
        match data.len().cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok(Self {
                mechanism,
                data: Some(data),
            }),
            std::cmp::Ordering::Less => Err(AuthError::MalformedClientMessage(
                "insufficient data left in message",
            )),
            std::cmp::Ordering::Greater => Err(AuthError::MalformedClientMessage("invalid message format")),
        }
    }

    /// The whole message, type byte included.
    pub fn encode(mechanism: &[u8], data: &[u8]) -> Vec<u8> {
        frame(PASSWORD, |body| {
            write_string(body, mechanism);
            // The data are a SCRAM message built here: far below 2 GiB.
            body.extend_from_slice(&i32::try_from(data.len()).unwrap_or(i32::MAX).to_be_bytes());
            body.extend_from_slice(data);
        })
    }
}

/// The text of a PasswordMessage, checked as `recv_password_packet` does.
pub(super) fn decode_password(body: &[u8]) -> Result<&[u8], AuthError> {
    match memchr::memchr(0, body) {
        Some(0) if body.len() == 1 => Err(AuthError::EmptyPassword),
        Some(end) if end + 1 == body.len() => Ok(&body[..end]),
        Some(_) | None => Err(AuthError::InvalidPasswordPacket),
    }
}

/// PasswordMessage, whole.
pub(super) fn password(text: &[u8]) -> Vec<u8> {
    frame(PASSWORD, |body| write_string(body, text))
}

/// SASLResponse, whole.
pub(super) fn sasl_response(data: &[u8]) -> Vec<u8> {
    frame(PASSWORD, |body| body.extend_from_slice(data))
}

/// AuthenticationCleartextPassword, whole.
pub(super) fn authentication_cleartext() -> Vec<u8> {
    authentication(3, |_| ())
}

/// AuthenticationSASL, whole.
pub(super) fn authentication_sasl<'a>(mechanisms: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    authentication(10, |body| {
        for name in mechanisms {
            write_string(body, name);
        }
        body.push(0);
    })
}

/// AuthenticationSASLContinue, whole.
pub(super) fn authentication_sasl_continue(data: &[u8]) -> Vec<u8> {
    authentication(11, |body| body.extend_from_slice(data))
}

/// AuthenticationSASLFinal, whole.
pub(super) fn authentication_sasl_final(data: &[u8]) -> Vec<u8> {
    authentication(12, |body| body.extend_from_slice(data))
}

fn authentication(code: u32, rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    frame(AUTHENTICATION, |body| {
        body.extend_from_slice(&code.to_be_bytes());
        rest(body);
    })
}

fn frame(tag: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, tag, body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{
        AuthError, AuthenticationRequest, SaslInitialResponse, authentication_sasl, decode_password,
    };

    fn request(code: u32, rest: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_list_of_mechanisms_survives_encoding_and_decoding() {
        let names: [&[u8]; 2] = [b"SCRAM-SHA-256-PLUS", b"OAUTHBEARER"];
        let bytes = authentication_sasl(names.into_iter());
        let AuthenticationRequest::Sasl(mechanisms) = AuthenticationRequest::decode(&bytes[5..]).unwrap()
        else {
            panic!("not SASL");
        };
        assert_eq!(mechanisms.names().collect::<Vec<_>>(), names);
        assert_eq!(mechanisms.to_string(), "SCRAM-SHA-256-PLUS, OAUTHBEARER");
    }

    #[test]
    fn a_short_authentication_request_is_an_error_and_not_a_panic() {
        for body in [
            vec![],
            vec![0],
            vec![0, 0, 0],
            request(5, b"abc"),
            request(5, b"abcde"),
        ] {
            assert!(AuthenticationRequest::decode(&body).is_err(), "{body:?}");
        }
        for list in [&b""[..], b"SCRAM-SHA-256", b"SCRAM-SHA-256\0"] {
            assert!(
                AuthenticationRequest::decode(&request(10, list)).is_err(),
                "{list:?}"
            );
        }
    }

    #[test]
    fn an_initial_response_may_be_absent_which_is_not_empty() {
        let absent = SaslInitialResponse::decode(b"M\0\xff\xff\xff\xff").unwrap();
        assert_eq!(absent.data, None);
        let empty = SaslInitialResponse::decode(b"M\0\0\0\0\0").unwrap();
        assert_eq!(empty.data, Some(&b""[..]));
        let some = SaslInitialResponse::decode(b"M\0\0\0\0\x02ab").unwrap();
        assert_eq!((some.mechanism, some.data), (&b"M"[..], Some(&b"ab"[..])));
    }

    #[test]
    fn an_initial_response_with_a_wrong_length_is_refused() {
        for body in [
            &b""[..],
            b"M",
            b"M\0",
            b"M\0\0\0\0",
            b"M\0\0\0\0\x01",
            b"M\0\0\0\0\x01ab",
            b"M\0\xff\xff\xff\xffab",
            b"M\0\xff\xff\xff\xfe",
            b"M\0\x7f\xff\xff\xffab",
        ] {
            assert!(SaslInitialResponse::decode(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_password_ends_with_the_message() {
        assert_eq!(decode_password(b"pencil\0").unwrap(), b"pencil");
        assert_eq!(decode_password(b"\0").unwrap_err(), AuthError::EmptyPassword);
        for body in [&b""[..], b"pencil", b"pen\0cil\0", b"\0\0"] {
            assert_eq!(
                decode_password(body).unwrap_err(),
                AuthError::InvalidPasswordPacket,
                "{body:?}"
            );
        }
    }
}
