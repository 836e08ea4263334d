//! Messages of a client as bytes, right and wrong.

use bemi::wire::frame::write_string;

pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    frame_of_length(tag, body.len() as i32 + 4, body)
}

/// A message that claims any length.
pub fn frame_of_length(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

pub fn query(text: &[u8]) -> Vec<u8> {
    frame(b'Q', &[text, b"\0"].concat())
}

pub fn parse(name: &str, text: &[u8], types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    write_string(&mut body, name.as_bytes());
    write_string(&mut body, text);
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    types
        .iter()
        .for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    frame(b'P', &body)
}

/// What a Bind holds besides its names.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub parameter_formats: Vec<u16>,
    pub parameters: Vec<Option<Vec<u8>>>,
    pub result_formats: Vec<u16>,
}

pub fn bind(portal: &str, statement: &str, bound: &Bound) -> Vec<u8> {
    let mut body = Vec::new();
    write_string(&mut body, portal.as_bytes());
    write_string(&mut body, statement.as_bytes());
    put_formats(&mut body, &bound.parameter_formats);
    body.extend_from_slice(&(bound.parameters.len() as u16).to_be_bytes());
    for value in &bound.parameters {
        match value {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&(value.len() as i32).to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    put_formats(&mut body, &bound.result_formats);
    frame(b'B', &body)
}

fn put_formats(body: &mut Vec<u8>, formats: &[u16]) {
    body.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    formats
        .iter()
        .for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
}

/// Describe (`D`) or Close (`C`) of a statement (`S`) or portal (`P`).
pub fn named(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    frame(tag, &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn execute(portal: &str, rows: i32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

/// A FunctionCall with all arguments and the result as text, or in binary.
pub fn function_call(oid: u32, arguments: &[Option<&[u8]>], binary: bool) -> Vec<u8> {
    let format = u16::from(binary).to_be_bytes();
    let mut body = oid.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 1]);
    body.extend_from_slice(&format);
    body.extend_from_slice(&(arguments.len() as u16).to_be_bytes());
    for argument in arguments {
        match argument {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&(value.len() as i32).to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    body.extend_from_slice(&format);
    frame(b'F', &body)
}

pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

/// A name for what a client sends, by its type byte.
pub fn name(tag: u8) -> &'static str {
    match tag {
        b'Q' => "Query",
        b'P' => "Parse",
        b'B' => "Bind",
        b'D' => "Describe",
        b'E' => "Execute",
        b'C' => "Close",
        b'S' => "Sync",
        b'H' => "Flush",
        b'F' => "FunctionCall",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'f' => "CopyFail",
        b'X' => "Terminate",
        b'p' => "PasswordMessage",
        _ => "unknown",
    }
}

/// A name for what a server sends.
pub fn server_name(tag: u8) -> &'static str {
    match tag {
        b'R' => "Authentication",
        b'K' => "BackendKeyData",
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'C' => "CommandComplete",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'D' => "DataRow",
        b'I' => "EmptyQueryResponse",
        b'E' => "ErrorResponse",
        b'V' => "FunctionCallResponse",
        b'v' => "NegotiateProtocolVersion",
        b'n' => "NoData",
        b'N' => "NoticeResponse",
        b'A' => "NotificationResponse",
        b't' => "ParameterDescription",
        b'S' => "ParameterStatus",
        b's' => "PortalSuspended",
        b'Z' => "ReadyForQuery",
        b'T' => "RowDescription",
        _ => "unknown",
    }
}

/// One line.
pub fn shown(bytes: &[u8]) -> String {
    let (tag, rest) = (
        bytes.first().copied().unwrap_or(0),
        bytes.get(5..).unwrap_or_default(),
    );
    let body = match std::str::from_utf8(rest) {
        Ok(text) => text.replace('\0', "\\0").replace('\n', "\\n"),
        Err(_) => rest.escape_ascii().to_string(),
    };
    let length = bytes
        .get(1..5)
        .and_then(|length| length.try_into().ok())
        .map(i32::from_be_bytes);
    let claim = if length == Some(bytes.len() as i32 - 1) {
        String::new()
    } else {
        format!(" (claims {length:?} bytes)")
    };
    let body: String = body.chars().take(600).collect();
    format!(
        "{:<8} {}{claim} {body}",
        name(tag),
        char::from(tag).escape_default()
    )
}
