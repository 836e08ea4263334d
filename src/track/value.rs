//! A column's value as JSON. Pure.
//!
//! What comes in is the output of the type's output function under the settings of our session (`DateStyle` ISO,
//! `IntervalStyle` iso_8601, `TimeZone` UTC, `bytea_output` hex); what comes out reads back into the same value through
//! `jsonb_populate_record`, with two exceptions: the JSON value `null` in a jsonb column reads back as NULL, and JSON that
//! jsonb cannot hold (`super::jsonb`) as a JSON string of its text.

use super::array::{Token, is_array, tokens, unquoted};
use super::copy::{self, Put};
use super::jsonb::{Fit, fit};
use super::kind::Kind;

/// Writes a value. False where it is no text in UTF-8, as may happen in a database in `SQL_ASCII`: its bytes are then
/// written as bytea would be.
pub fn write(out: &mut impl Put, kind: &Kind, text: &[u8]) -> bool {
    if std::str::from_utf8(text).is_err() {
        copy::json_hex_string(out, text);
        return false;
    }
    write_utf8(out, kind, text);
    true
}

fn write_utf8(out: &mut impl Put, kind: &Kind, text: &[u8]) {
    match kind {
        Kind::Boolean if text == b"t" => out.put(b"true"),
        Kind::Boolean if text == b"f" => out.put(b"false"),
        Kind::Number if is_number(text) => out.put(text),
        Kind::Json if fit(text) != Fit::Not => copy::json(out, text),
        Kind::Timestamp if is_time(text) => timestamp(out, text, false),
        Kind::TimestampTz if is_time(text) => timestamp(out, text, true),
        Kind::Array { item, delimiter }
            if is_array(text, *delimiter) && !is_ambiguous(item, *delimiter, text) =>
        {
            array(out, item, *delimiter, text);
        }
        Kind::Boolean
        | Kind::Number
        | Kind::Json
        | Kind::Timestamp
        | Kind::TimestampTz
        | Kind::Array { .. }
        | Kind::Text => copy::json_string(out, text),
    }
}

/// Digits as JSON has them. Type float8 knows a zero with a sign, jsonb does not: `-0` is none.
fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let may_be_in_a_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-');
    digits.first().is_some_and(u8::is_ascii_digit) && digits.iter().all(may_be_in_a_number) && text != b"-0"
}

/// Neither `infinity` nor a time before Christ, which ISO 8601 counts in another way.
fn is_time(text: &[u8]) -> bool {
    let may_be_in_a_time =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b' ' | b'.' | b'+');
    text.first().is_some_and(u8::is_ascii_digit) && text.iter().all(may_be_in_a_time)
}

/// ISO 8601: a `T` between date and time, and `+00:00` where the server writes `+00`.
fn timestamp(out: &mut impl Put, text: &[u8], has_zone: bool) {
    out.put(b"\"");
    match memchr::memchr(b' ', text) {
        Some(at) => {
            let (date, time) = text.split_at(at);
            out.put(date);
            out.put(b"T");
            out.put(time.get(1..).unwrap_or_default());
        }
        None => out.put(text),
    }
    let whole_hours = matches!(text, [.., b'+' | b'-', _, _]);
    if has_zone && whole_hours {
        out.put(b":00");
    }
    out.put(b"\"");
}

/// Whether an item is JSON that would be taken for a part of the array around it: an array for one of its dimensions,
/// `null` for NULL. Such an array is written as one string, which reads back as what it is.
fn is_ambiguous(item: &Kind, delimiter: u8, text: &[u8]) -> bool {
    let begins_so = |json: &[u8]| {
        let json = json.trim_ascii_start();
        json.starts_with(b"[") || json.starts_with(b"null")
    };
    *item == Kind::Json
        && tokens(text, delimiter).any(|token| match token {
            Token::Plain(value) | Token::Quoted(value) => begins_so(value),
            Token::Open | Token::Close | Token::Delimiter | Token::Null => false,
        })
}

fn array(out: &mut impl Put, item: &Kind, delimiter: u8, text: &[u8]) {
    for token in tokens(text, delimiter) {
        match token {
            Token::Open => out.put(b"["),
            Token::Close => out.put(b"]"),
            Token::Delimiter => out.put(b","),
            Token::Null => out.put(b"null"),
            Token::Plain(value) => write_utf8(out, item, value),
            Token::Quoted(value) if value.contains(&b'\\') => write_utf8(out, item, &unquoted(value)),
            Token::Quoted(value) => write_utf8(out, item, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, write};

    fn json(kind: &Kind, text: &str) -> String {
        let mut out = Vec::new();
        assert!(write(&mut out, kind, text.as_bytes()));
        // COPY takes one of two backslashes away.
        String::from_utf8(out).unwrap().replace("\\\\", "\\")
    }

    fn array_of(item: Kind) -> Kind {
        Kind::Array {
            item: Box::new(item),
            delimiter: b',',
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for text in [
            "9223372036854775807",
            "-1.10",
            "1e+20",
            "0",
            "5e-324",
            "123456789012345678901234567890.000",
        ] {
            assert_eq!(json(&Kind::Number, text), text);
        }
    }

    #[test]
    fn what_is_no_number_in_json_is_a_string() {
        for text in ["NaN", "Infinity", "-Infinity", "-0"] {
            assert_eq!(json(&Kind::Number, text), format!("\"{text}\""));
        }
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(
            json(&Kind::Timestamp, "2026-11-24 10:00:00.5"),
            "\"2026-11-24T10:00:00.5\""
        );
        assert_eq!(
            json(&Kind::TimestampTz, "2026-11-24 10:00:00+00"),
            "\"2026-11-24T10:00:00+00:00\""
        );
        assert_eq!(
            json(&Kind::TimestampTz, "1883-11-18 10:00:00+00:53:28"),
            "\"1883-11-18T10:00:00+00:53:28\""
        );
        assert_eq!(json(&Kind::TimestampTz, "infinity"), "\"infinity\"");
        assert_eq!(
            json(&Kind::Timestamp, "0044-03-15 12:00:00 BC"),
            "\"0044-03-15 12:00:00 BC\""
        );
    }

    #[test]
    fn json_is_nested_and_what_jsonb_refuses_is_kept_as_text() {
        assert_eq!(json(&Kind::Json, r#"{"a": [1.50]}"#), r#"{"a": [1.50]}"#);
        assert_eq!(json(&Kind::Json, "\"\\u0000\""), r#""\"\\u0000\"""#);
    }

    #[test]
    fn arrays_are_arrays() {
        assert_eq!(json(&array_of(Kind::Number), "{1,NULL,-2}"), "[1,null,-2]");
        assert_eq!(
            json(&array_of(Kind::Text), r#"{a,"b \"c\"",{d}}"#),
            r#"["a","b \"c\"",["d"]]"#
        );
        assert_eq!(json(&array_of(Kind::Json), r#"{"{\"a\": 1}"}"#), r#"[{"a": 1}]"#);
        assert_eq!(json(&array_of(Kind::Boolean), "{t,f}"), "[true,false]");
        assert_eq!(json(&array_of(Kind::Number), "[0:1]={1,2}"), "\"[0:1]={1,2}\"");
    }

    #[test]
    fn an_array_of_json_arrays_is_not_taken_for_one_of_two_dimensions() {
        assert_eq!(
            json(&array_of(Kind::Json), r#"{"[1, 2]",3}"#),
            r#""{\"[1, 2]\",3}""#
        );
        assert_eq!(json(&array_of(Kind::Json), "{null,3}"), r#""{null,3}""#);
        assert_eq!(json(&array_of(Kind::Json), "{NULL,3}"), "[null,3]");
        assert_eq!(json(&array_of(Kind::Json), "{{1,2},{3,4}}"), "[[1,2],[3,4]]");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_bytea() {
        let mut out = Vec::new();
        assert!(!write(&mut out, &Kind::Text, b"a\xFF"));
        assert_eq!(out, br#""\\\\x61ff""#);
    }
}
