//! JSON in pure ASCII.
//!
//! Every character above U+007F is written as `\uXXXX`: such a text is the same bytes in every
//! `client_encoding`, one byte is one character, and no server can fail to convert it.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| !c.is_ascii()) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

/// Appends the members of an object, without its braces.
pub(super) fn write_members(out: &mut Vec<u8>, entries: &Map<String, Value>) {
    let start = out.len();
    serialize(out, entries);
    out.pop();
    if out.len() > start {
        out.remove(start);
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    serialize(out, text);
}

/// Values of `serde_json` always have string keys and a `Vec` never refuses bytes: neither can fail.
fn serialize<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = value.serialize(&mut Serializer::with_formatter(out, Ascii));
    debug_assert!(written.is_ok(), "serializing into memory failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_above_ascii_is_escaped() {
        let mut out = Vec::new();
        write_string(&mut out, "a\"é\n€𝄞z");
        assert_eq!(out, br#""a\"\u00e9\n\u20ac\ud834\udd1ez""#);
    }

    #[test]
    fn members_stand_without_braces() {
        let mut out = b"x".to_vec();
        write_members(&mut out, &Map::new());
        assert_eq!(out, b"x");
        let Value::Object(entries) = serde_json::json!({"a": 1, "b": {"c": []}}) else {
            panic!()
        };
        write_members(&mut out, &entries);
        assert_eq!(out, br#"x"a":1,"b":{"c":[]}"#);
    }
}
