//! Messages of the client: views of those bemi looks into, and the few it sends itself.

use super::Malformed;
use super::frame::{write_frame, write_string};
use super::reader::Reader;

/// Message types a client sends (`protocol.h`, "Message Formats").
pub mod tag {
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    pub const PASSWORD: u8 = b'p';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';
}

/// Whether the server reads a message of this type, or ends the session at its first byte (`SocketBackend` in
/// postgres.c). A password, for one, is none in a session.
pub fn is_session_message(tag: u8) -> bool {
    matches!(
        tag,
        tag::BIND
            | tag::CLOSE
            | tag::COPY_DATA
            | tag::COPY_DONE
            | tag::COPY_FAIL
            | tag::DESCRIBE
            | tag::EXECUTE
            | tag::FLUSH
            | tag::FUNCTION_CALL
            | tag::PARSE
            | tag::QUERY
            | tag::SYNC
            | tag::TERMINATE
    )
}

/// What Close and Describe name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A prepared statement; the empty name is the unnamed one.
    Statement(&'a [u8]),
    /// A portal; the empty name is the unnamed one.
    Portal(&'a [u8]),
}

/// The text of a Query, without its NUL.
///
/// # Errors
/// [`Malformed`] when the terminator is missing or is not the last byte.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new("Query", body);
    let text = reader.string()?;
    if reader.rest().is_empty() {
        Ok(text)
    } else {
        Err(reader.malformed("bytes behind the text"))
    }
}

/// A Parse message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub statement: &'a [u8],
    pub text: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads the name from a body that may be cut short behind it; `None` when it is not all there yet.
    pub fn peek_name(body: &'a [u8]) -> Option<&'a [u8]> {
        Reader::new("Parse", body).name().ok()
    }

    /// # Errors
    /// [`Malformed`] when a terminator is missing.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("Parse", body);
        Ok(Self {
            statement: reader.name()?,
            text: reader.string()?,
        })
    }
}

/// The names at the front of a Bind message: all that is needed unless a parameter matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
}

impl<'a> BindNames<'a> {
    /// Reads the names from a body that may be cut short behind them; `None` when they are not all there yet.
    pub fn peek(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new("Bind", body);
        Some(Self {
            portal: reader.name().ok()?,
            statement: reader.name().ok()?,
        })
    }
}

/// One parameter of a Bind message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// `None` is NULL.
    pub value: Option<&'a [u8]>,
    /// Whether the value is in the type's binary form instead of its text form.
    pub binary: bool,
}

/// The parameter with this number (1 for `$1`) of a whole Bind message; `None` when it has fewer.
///
/// # Errors
/// [`Malformed`] when a count or a length does not fit the message.
pub fn bind_parameter(body: &[u8], number: u16) -> Result<Option<Parameter<'_>>, Malformed> {
    let mut reader = Reader::new("Bind", body);
    reader.name()?;
    reader.name()?;
    let formats = reader.u16()?;
    let mut codes = Reader::new("Bind", reader.bytes(usize::from(formats) * 2)?);
    let count = reader.u16()?;
    if number == 0 || number > count {
        return Ok(None);
    }
    for _ in 1..number {
        reader.value()?;
    }
    let value = reader.value()?;
    // One code speaks for all parameters, none means text for all.
    let skipped = if formats > 1 { number - 1 } else { 0 };
    for _ in 0..skipped {
        codes.u16()?;
    }
    let binary = formats > 0 && codes.u16()? == 1;
    Ok(Some(Parameter { value, binary }))
}

/// The portal an Execute names.
///
/// # Errors
/// [`Malformed`] when the name or the row limit is missing.
pub fn execute(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new("Execute", body);
    let portal = reader.name()?;
    reader.i32()?;
    Ok(portal)
}

/// What a Close or Describe names.
///
/// # Errors
/// [`Malformed`] when the kind is neither `S` nor `P`, or the name has no end.
pub fn named<'a>(message: &'static str, body: &'a [u8]) -> Result<Named<'a>, Malformed> {
    let mut reader = Reader::new(message, body);
    match reader.u8()? {
        b'S' => reader.name().map(Named::Statement),
        b'P' => reader.name().map(Named::Portal),
        _ => Err(reader.malformed("neither a statement nor a portal")),
    }
}

/// Appends a Query.
pub fn write_query(out: &mut Vec<u8>, text: &[u8]) {
    write_frame(out, tag::QUERY, |body| write_string(body, text));
}

/// Appends a Parse; the server infers the types of parameters that `types` does not name (OIDs).
pub fn write_parse(out: &mut Vec<u8>, statement: &str, text: &str, types: &[u32]) {
    write_frame(out, tag::PARSE, |body| {
        write_string(body, statement.as_bytes());
        write_string(body, text.as_bytes());
        body.extend_from_slice(&u16::try_from(types.len()).unwrap_or(0).to_be_bytes());
        for oid in types {
            body.extend_from_slice(&oid.to_be_bytes());
        }
    });
}

/// Appends a Bind with all parameters and results in text form.
pub fn write_bind(out: &mut Vec<u8>, portal: &str, statement: &str, parameters: &[&[u8]]) {
    write_frame(out, tag::BIND, |body| {
        write_string(body, portal.as_bytes());
        write_string(body, statement.as_bytes());
        body.extend_from_slice(&0_u16.to_be_bytes());
        body.extend_from_slice(&u16::try_from(parameters.len()).unwrap_or(0).to_be_bytes());
        for value in parameters {
            body.extend_from_slice(&i32::try_from(value.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(value);
        }
        body.extend_from_slice(&0_u16.to_be_bytes());
    });
}

/// Appends an Execute without a row limit.
pub fn write_execute(out: &mut Vec<u8>, portal: &str) {
    write_frame(out, tag::EXECUTE, |body| {
        write_string(body, portal.as_bytes());
        body.extend_from_slice(&0_i32.to_be_bytes());
    });
}

/// Appends a Close of a prepared statement or portal.
pub fn write_close(out: &mut Vec<u8>, what: Named<'_>) {
    write_frame(out, tag::CLOSE, |body| {
        let (kind, name) = match what {
            Named::Statement(name) => (b'S', name),
            Named::Portal(name) => (b'P', name),
        };
        body.push(kind);
        write_string(body, name);
    });
}

/// Appends a Sync.
pub fn write_sync(out: &mut Vec<u8>) {
    write_frame(out, tag::SYNC, |_| ());
}

#[cfg(test)]
mod tests {
    use super::super::frame::HEADER_LEN;
    use super::*;

    #[test]
    fn a_parameter_is_found_behind_the_others() {
        let mut out = Vec::new();
        write_bind(&mut out, "p", "s", &[b"one", b"", b"three"]);
        let body = &out[HEADER_LEN..];
        assert_eq!(
            BindNames::peek(body),
            Some(BindNames {
                portal: b"p",
                statement: b"s"
            })
        );
        for (number, expected) in [(1, &b"one"[..]), (2, b""), (3, b"three")] {
            let parameter = Parameter {
                value: Some(expected),
                binary: false,
            };
            assert_eq!(bind_parameter(body, number), Ok(Some(parameter)));
        }
        assert_eq!(bind_parameter(body, 0), Ok(None));
        assert_eq!(bind_parameter(body, 4), Ok(None));
    }

    #[test]
    fn one_format_code_speaks_for_all_parameters_and_several_for_one_each() {
        let two_values = [0, 0, 0, 1, b'a', 255, 255, 255, 255];
        let bind = |codes: &[u8]| [&b"\0\0"[..], codes, &[0, 2], &two_values, &[0, 0]].concat();
        let one = bind(&[0, 1, 0, 1]);
        assert_eq!(
            bind_parameter(&one, 2),
            Ok(Some(Parameter {
                value: None,
                binary: true
            }))
        );
        let each = bind(&[0, 2, 0, 1, 0, 0]);
        assert_eq!(
            bind_parameter(&each, 1),
            Ok(Some(Parameter {
                value: Some(b"a"),
                binary: true
            }))
        );
        assert_eq!(
            bind_parameter(&each, 2),
            Ok(Some(Parameter {
                value: None,
                binary: false
            }))
        );
    }

    #[test]
    fn messages_cut_short_are_malformed_and_never_panic() {
        let mut bind = Vec::new();
        write_bind(&mut bind, "portal", "statement", &[b"value"]);
        let body = &bind[HEADER_LEN..];
        for n in 0..body.len() - 2 {
            assert!(bind_parameter(&body[..n], 1).is_err(), "{n} bytes");
        }
        assert!(query(b"select 1").is_err());
        assert!(query(b"select 1\0;").is_err());
        assert!(execute(b"p\0\0\0").is_err());
        assert!(named("Close", b"Xname\0").is_err());
    }
}
