//! What the proxy says to the server on its own account.

use crate::context::Context;
use crate::sql::VARIABLE;
use crate::wire::frontend::{self, Named};

/// Prefix of the messages in the write-ahead log, by which Bemi's worker and Debezium find them.
pub const MESSAGE_PREFIX: &str = "_bemi";

/// Name of the reserved prepared statement, of the reserved portal, and of the column of statements put into
/// a Query. No client can have the statement by accident: its Parse would have to come after ours.
pub const RESERVED: &str = "_bemi";

/// Name of the prepared statement for what is said once.
pub const RESERVED_ONCE: &str = "_bemi_once";

/// OID of the type `text` (`pg_type.dat`).
const TEXT: u32 = 25;

/// The reserved statement.
const EMIT: &str = "SELECT pg_catalog.pg_logical_emit_message(true,'_bemi',$1) AS \"_bemi\"";

/// Closes and prepares the reserved statement. Closing what does not exist is no error, so this is safe in every
/// state.
pub fn write_prepare(out: &mut Vec<u8>) {
    write_close_statement(out);
    frontend::write_parse(out, RESERVED, EMIT, &[TEXT]);
}

/// Closes the reserved statement.
pub fn write_close_statement(out: &mut Vec<u8>) {
    frontend::write_close(out, Named::Statement(RESERVED.as_bytes()));
}

/// Emits a message with the reserved statement, which must be prepared.
pub fn write_emit(out: &mut Vec<u8>, payload: &[u8]) {
    frontend::write_bind(out, RESERVED, RESERVED, &[payload]);
    frontend::write_execute(out, RESERVED);
    frontend::write_close(out, Named::Portal(RESERVED.as_bytes()));
}

/// Runs a statement that is needed once. A portal does not need its statement any more, and one that was not closed
/// before an error would be left behind, for the client to see.
pub fn write_once(out: &mut Vec<u8>, sql: &str) {
    frontend::write_close(out, Named::Statement(RESERVED_ONCE.as_bytes()));
    frontend::write_parse(out, RESERVED_ONCE, sql, &[]);
    frontend::write_bind(out, RESERVED, RESERVED_ONCE, &[]);
    frontend::write_close(out, Named::Statement(RESERVED_ONCE.as_bytes()));
    frontend::write_execute(out, RESERVED);
    frontend::write_close(out, Named::Portal(RESERVED.as_bytes()));
}

/// The statement that emits this payload.
pub fn emit_sql(payload: &[u8]) -> String {
    format!(
        "SELECT pg_catalog.pg_logical_emit_message(true,'{MESSAGE_PREFIX}',{}) AS \"{RESERVED}\"",
        literal(payload)
    )
}

/// The statement that merges the setting's value between two contexts on the server, where only it knows the
/// value, and emits the result.
///
/// Without a value and without `below` and `above` nothing is emitted, or `{}` where a message is in force that
/// must not be blamed for this write.
pub fn merge_on_server_sql(
    below: &Context,
    above: &Context,
    sql: Option<&[u8]>,
    message_in_force: bool,
) -> String {
    let value = format!("pg_catalog.current_setting('{VARIABLE}',true)");
    let object = |members: &[u8]| literal(&[b"{", members, b"}"].concat());
    let statement = object(&sql.map(|sql| [br#""SQL":"#, sql].concat()).unwrap_or_default());
    let merged = format!(
        "({statement}::pg_catalog.jsonb OPERATOR(pg_catalog.||) {}::pg_catalog.jsonb OPERATOR(pg_catalog.||) \
         COALESCE(NULLIF({value},''),'{{}}')::pg_catalog.jsonb OPERATOR(pg_catalog.||) {}::pg_catalog.jsonb)\
         ::pg_catalog.text",
        object(below.members()),
        object(above.members()),
    );
    let emit = |content: &str| {
        format!(
            "SELECT pg_catalog.pg_logical_emit_message(true,'{MESSAGE_PREFIX}',{content}) AS \"{RESERVED}\""
        )
    };
    if !below.is_empty() || !above.is_empty() {
        emit(&merged)
    } else if message_in_force {
        emit(&format!(
            "CASE WHEN COALESCE({value},'') OPERATOR(pg_catalog.=) '' THEN '{{}}' ELSE {merged} END"
        ))
    } else {
        format!(
            "{} WHERE COALESCE({value},'') OPERATOR(pg_catalog.<>) ''",
            emit(&merged)
        )
    }
}

/// The statement that gives the setting this value until the transaction ends.
pub fn restore_sql(context: Option<&Context>) -> String {
    let value = match context {
        Some(context) => literal(&[b"{", context.members(), b"}"].concat()),
        None => literal(b""),
    };
    format!("SELECT pg_catalog.set_config('{VARIABLE}',{value},true) AS \"{RESERVED}\"")
}

/// The statement that reads the setting and fails when its value is no context.
///
/// `json_object_keys` fails on everything but an object and has no rows for NULL; a value over the limit is
/// replaced by an array for it to fail on. The value comes as the hexadecimal digits of its bytes in the server's
/// encoding: the client's may have no such characters, and what is no error for the client must be none for us.
pub fn probe_sql(max_bytes: usize) -> String {
    let value = format!("pg_catalog.current_setting('{VARIABLE}',true)");
    format!(
        "SELECT pg_catalog.encode(pg_catalog.convert_to({value},pg_catalog.getdatabaseencoding()),'hex') \
         AS \"{RESERVED}\" WHERE (SELECT pg_catalog.count(*) FROM pg_catalog.json_object_keys(\
         CASE WHEN pg_catalog.octet_length({value}) OPERATOR(pg_catalog.<=) {max_bytes} \
         THEN NULLIF({value},'')::pg_catalog.json ELSE CASE WHEN {value} IS NOT NULL THEN '[]'::pg_catalog.json END END)) \
         OPERATOR(pg_catalog.>=) 0"
    )
}

/// The bytes of a value as a probe tells it; `None` where these are no such digits.
pub fn probed_bytes(hex: &[u8]) -> Option<Vec<u8>> {
    let pairs = hex.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

/// A literal that reads the same whatever `standard_conforming_strings` and `backslash_quote` say.
fn literal(ascii: &[u8]) -> String {
    let mut out = String::with_capacity(ascii.len() + ascii.len() / 8 + 3);
    out.push_str("E'");
    for &byte in ascii {
        match byte {
            b'\'' => out.push_str("''"),
            b'\\' => out.push_str("\\\\"),
            _ => out.push(char::from(byte)),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_probe_tells_is_read_digit_by_digit() {
        assert_eq!(probed_bytes(b"7bc3A9"), Some(b"{\xc3\xa9".to_vec()));
        assert_eq!(probed_bytes(b""), Some(Vec::new()));
        for wrong in [&b"7"[..], b"7b7", b"zz", b"\xff\xff"] {
            assert_eq!(probed_bytes(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn quotes_and_backslashes_survive_a_literal() {
        assert_eq!(literal(br#"{"a":"it's \u00e9"}"#), r#"E'{"a":"it''s \\u00e9"}'"#);
        assert_eq!(literal(br"'\'"), r"E'''\\'''");
        assert_eq!(literal(b""), "E''");
    }

    #[test]
    fn a_message_is_emitted_under_the_reserved_names() {
        let expected = format!(
            "SELECT pg_catalog.pg_logical_emit_message(true,'{MESSAGE_PREFIX}',E'{{}}') AS \"{RESERVED}\""
        );
        assert_eq!(emit_sql(b"{}"), expected);
    }
}
