//! ErrorResponse and NoticeResponse: reading their fields, writing our own, moving a position.
//!
//! A body is a list of fields, one byte of code and a NUL-terminated text each, closed by a NUL
//! (manual, "Error and Notice Message Fields").

use super::Malformed;
use super::backend::tag;
use super::frame::{write_frame, write_string};
use super::reader::Reader;

/// Field codes.
pub mod field {
    pub const SEVERITY: u8 = b'S';
    /// The severity in English, whatever `lc_messages` says.
    pub const SEVERITY_UNTRANSLATED: u8 = b'V';
    pub const SQLSTATE: u8 = b'C';
    pub const MESSAGE: u8 = b'M';
    pub const DETAIL: u8 = b'D';
    pub const HINT: u8 = b'H';
    /// Where in the client's text, in characters from 1.
    pub const POSITION: u8 = b'P';
}

/// How grave a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// Nothing failed.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Error | Self::Fatal => tag::ERROR_RESPONSE,
            Self::Warning => tag::NOTICE_RESPONSE,
        }
    }
}

/// SQLSTATE codes that bemi itself uses (manual, appendix "PostgreSQL Error Codes").
pub mod sqlstate {
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
    pub const CONNECTION_FAILURE: &str = "08006";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const UNABLE_TO_CONNECT: &str = "08001";
    pub const WARNING: &str = "01000";
}

/// An error or notice of bemi's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub severity: Severity,
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Response {
    /// A response without detail and hint.
    pub fn new(severity: Severity, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// Adds what the reader should know besides.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what the reader should do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the message. Texts lose what a client could not decode: they are ASCII, or UTF-8 with
    /// a NUL never inside.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, self.severity.tag(), |body| {
            let mut put = |code: u8, text: &str| {
                body.push(code);
                body.extend(text.bytes().filter(|&b| b != 0));
                body.push(0);
            };
            put(field::SEVERITY, self.severity.as_str());
            put(field::SEVERITY_UNTRANSLATED, self.severity.as_str());
            put(field::SQLSTATE, self.sqlstate);
            put(field::MESSAGE, &self.message);
            if let Some(detail) = &self.detail {
                put(field::DETAIL, detail);
            }
            if let Some(hint) = &self.hint {
                put(field::HINT, hint);
            }
            body.push(0);
        });
    }

    /// The message as bytes of its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// The text of a field of an ErrorResponse or NoticeResponse body.
///
/// # Errors
/// [`Malformed`] when a field has no end.
pub fn field_of(body: &[u8], wanted: u8) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    for_each_field(body, |code, text| {
        if code == wanted && found.is_none() {
            found = Some(text);
        }
    })?;
    Ok(found)
}

/// Appends the response with its position changed by `shift`: `Some(n)` stands for the new position,
/// `None` leaves the field out. A response without a position is appended as it is.
///
/// # Errors
/// [`Malformed`] when a field has no end; nothing useful was appended then.
pub fn write_with_position(
    out: &mut Vec<u8>,
    tag: u8,
    body: &[u8],
    shift: impl Fn(usize) -> Option<usize>,
) -> Result<(), Malformed> {
    let mut result = Ok(());
    write_frame(out, tag, |out| {
        result = for_each_field(body, |code, text| {
            let position = if code == field::POSITION {
                parse_position(text)
            } else {
                None
            };
            match position.map(&shift) {
                Some(None) => {}
                Some(Some(moved)) => {
                    out.push(code);
                    write_string(out, moved.to_string().as_bytes());
                }
                None => {
                    out.push(code);
                    write_string(out, text);
                }
            }
        });
        out.push(0);
    });
    result
}

fn parse_position(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn for_each_field<'a>(body: &'a [u8], mut visit: impl FnMut(u8, &'a [u8])) -> Result<(), Malformed> {
    let mut reader = Reader::new("ErrorResponse", body);
    loop {
        match reader.u8()? {
            0 => return Ok(()),
            code => visit(code, reader.string()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::HEADER_LEN;
    use super::*;

    const BODY: &[u8] = b"SERROR\0VERROR\0C42601\0Msyntax error\0P30\0Fscan.l\0\0";

    #[test]
    fn a_position_moves_and_everything_else_stays() {
        let mut out = Vec::new();
        write_with_position(&mut out, b'E', BODY, |p| Some(p - 20)).unwrap();
        assert_eq!(
            &out[HEADER_LEN..],
            b"SERROR\0VERROR\0C42601\0Msyntax error\0P10\0Fscan.l\0\0"
        );
        out.clear();
        write_with_position(&mut out, b'E', BODY, |_| None).unwrap();
        assert_eq!(
            &out[HEADER_LEN..],
            b"SERROR\0VERROR\0C42601\0Msyntax error\0Fscan.l\0\0"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let response =
            Response::new(Severity::Error, sqlstate::INVALID_PARAMETER_VALUE, "no\0pe").hint("do this");
        let bytes = response.to_bytes();
        let body = &bytes[HEADER_LEN..];
        assert_eq!(field_of(body, field::SQLSTATE), Ok(Some(&b"22023"[..])));
        assert_eq!(field_of(body, field::MESSAGE), Ok(Some(&b"nope"[..])));
        assert_eq!(field_of(body, field::HINT), Ok(Some(&b"do this"[..])));
        assert_eq!(field_of(body, field::DETAIL), Ok(None));
    }

    #[test]
    fn a_body_without_its_end_is_malformed() {
        for n in 0..BODY.len() {
            assert!(field_of(&BODY[..n], b'x').is_err(), "{n} bytes");
        }
    }
}
