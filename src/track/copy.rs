//! Writes the text format of COPY, with JSON inside it. Pure.
//!
//! **Problem.** A value passes two escapes on its way into a jsonb column: JSON's, then COPY's. Done one after the other
//! they need the value twice in memory, and a row may hold 50 MB.
//!
//! **Mechanism.** Every function here writes what COPY reads, both escapes in one pass, to anything that takes bytes
//! ([`Put`]). Nothing is ever held back, so that a large value leaves in the pieces that the receiver cuts.
//!
//! Source: manual, COPY, "Text Format"; server, `CopyReadAttributesText` (copyfromparse.c).

/// Takes the bytes of rows.
pub trait Put {
    /// Appends.
    fn put(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A column that is NULL.
pub const NULL: &[u8] = b"\\N";
/// Between two columns.
pub const NEXT_COLUMN: &[u8] = b"\t";
/// Behind the last one.
pub const END_OF_ROW: &[u8] = b"\n";

/// What stands for each byte of a JSON string's content; empty: the byte itself.
const IN_JSON_STRING: [&[u8]; 256] = escapes(true);
/// What stands for each byte of a text; empty: the byte itself.
const IN_TEXT: [&[u8]; 256] = escapes(false);

const fn escapes(is_json: bool) -> [&'static [u8]; 256] {
    let mut table: [&[u8]; 256] = [b""; 256];
    if is_json {
        let mut byte = 0;
        while byte < 0x20 {
            table[byte] = CONTROL[byte];
            byte += 1;
        }
        table[b'"' as usize] = b"\\\\\"";
        table[b'\\' as usize] = b"\\\\\\\\";
    } else {
        table[b'\n' as usize] = b"\\n";
        table[b'\r' as usize] = b"\\r";
        table[b'\t' as usize] = b"\\t";
        table[b'\\' as usize] = b"\\\\";
    }
    table
}

/// `\u0000` to `\u001f` (RFC 8259, 7), the backslash doubled for COPY.
const CONTROL: [&[u8]; 32] = [
    b"\\\\u0000",
    b"\\\\u0001",
    b"\\\\u0002",
    b"\\\\u0003",
    b"\\\\u0004",
    b"\\\\u0005",
    b"\\\\u0006",
    b"\\\\u0007",
    b"\\\\b",
    b"\\\\t",
    b"\\\\n",
    b"\\\\u000b",
    b"\\\\f",
    b"\\\\r",
    b"\\\\u000e",
    b"\\\\u000f",
    b"\\\\u0010",
    b"\\\\u0011",
    b"\\\\u0012",
    b"\\\\u0013",
    b"\\\\u0014",
    b"\\\\u0015",
    b"\\\\u0016",
    b"\\\\u0017",
    b"\\\\u0018",
    b"\\\\u0019",
    b"\\\\u001a",
    b"\\\\u001b",
    b"\\\\u001c",
    b"\\\\u001d",
    b"\\\\u001e",
    b"\\\\u001f",
];

fn escaped(out: &mut impl Put, bytes: &[u8], table: &[&[u8]; 256]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !table[usize::from(*byte)].is_empty()) {
        let (plain, special) = rest.split_at(at);
        out.put(plain);
        let Some((first, behind)) = special.split_first() else {
            return;
        };
        out.put(table[usize::from(*first)]);
        rest = behind;
    }
    out.put(rest);
}

/// A column of type text.
pub fn text(out: &mut impl Put, bytes: &[u8]) {
    escaped(out, bytes, &IN_TEXT);
}

/// JSON that is complete, as it stands.
pub fn json(out: &mut impl Put, bytes: &[u8]) {
    escaped(out, bytes, &IN_TEXT);
}

/// A JSON string with this content, which must be UTF-8.
pub fn json_string(out: &mut impl Put, content: &[u8]) {
    out.put(b"\"");
    json_string_part(out, content);
    out.put(b"\"");
}

/// A part of a JSON string's content.
pub fn json_string_part(out: &mut impl Put, content: &[u8]) {
    escaped(out, content, &IN_JSON_STRING);
}

/// A JSON string of `\x` and hexadecimal digits, as bytea is written: for bytes that are no text.
pub fn json_hex_string(out: &mut impl Put, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put(b"\"\\\\\\\\x");
    let mut digits = Vec::with_capacity(2_048);
    for piece in bytes.chunks(1_024) {
        digits.clear();
        for byte in piece {
            digits.push(DIGITS[usize::from(byte >> 4)]);
            digits.push(DIGITS[usize::from(byte & 15)]);
        }
        out.put(&digits);
    }
    out.put(b"\"");
}

#[cfg(test)]
mod tests {
    use super::{json, json_hex_string, json_string, text};

    /// What COPY makes of a column: the reverse of its escapes.
    fn copied(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = bytes.iter();
        while let Some(byte) = bytes.next() {
            assert!(
                !matches!(byte, b'\t' | b'\n' | b'\r'),
                "a column or row would end here"
            );
            out.push(match byte {
                b'\\' => match bytes.next() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'b') => 8,
                    Some(b'f') => 12,
                    Some(b'x' | b'0'..=b'7' | b'.' | b'N') | None => {
                        panic!("an escape that means something else")
                    }
                    Some(other) => *other,
                },
                other => *other,
            });
        }
        out
    }

    fn every_character() -> String {
        (1..=0x2FF_u32)
            .filter_map(char::from_u32)
            .chain("\\x41\\N\\.".chars())
            .collect()
    }

    #[test]
    fn a_text_arrives_as_it_was() {
        let mut out = Vec::new();
        text(&mut out, every_character().as_bytes());
        assert_eq!(copied(&out), every_character().as_bytes());
    }

    #[test]
    fn a_string_arrives_as_json_of_the_same_string() {
        let mut out = Vec::new();
        json_string(&mut out, every_character().as_bytes());
        assert_eq!(
            serde_json::from_slice::<String>(&copied(&out)).unwrap(),
            every_character()
        );
    }

    #[test]
    fn json_with_line_breaks_and_escapes_arrives_as_it_was() {
        let source = "{\"a\": \"\\n\\\\\",\n\t\"b\": 1}\r\n";
        let mut out = Vec::new();
        json(&mut out, source.as_bytes());
        assert_eq!(copied(&out), source.as_bytes());
    }

    #[test]
    fn bytes_arrive_as_bytea_writes_them() {
        let mut out = Vec::new();
        json_hex_string(&mut out, &[0, 0xAB, b'\\']);
        assert_eq!(
            serde_json::from_slice::<String>(&copied(&out)).unwrap(),
            "\\x00ab5c"
        );
    }
}
