//! What `bemi track` writes.

use bemi::replication::abridge::Abridger;
use bemi::replication::pgoutput;
use bemi::track::copy::Put;
use bemi::track::jsonb::{self, Fit};
use bemi::track::kind::Kind;
use bemi::track::value;

use super::Target;

/// Any bytes as a value of any kind: one column of one row for COPY, with JSON in it.
pub const VALUES: Target = Target {
    name: "values",
    run: values,
    seeds: &[
        b"\x00t",
        b"\x01-1.50e+3",
        b"\x02{\"a\": [1, \"\\ud83d\\ude00\\u0000\", null]}",
        b"\x032026-11-24 10:00:00.5+00",
        b"\x04{1,NULL,\"a \\\"b\\\"\",{2,3}}",
        b"\x05tab\t, \\backslash, \"quote\"\n\x01",
        b"\x06{\"{\\\"a\\\": 1}\",NULL}",
        b"\x05\xFF\xFE",
    ],
};

/// A message that is shortened is a message, wherever it was cut on its way.
pub const ABRIDGE: Target = Target {
    name: "abridge",
    run: abridge,
    seeds: &[
        b"\x08\x05I\0\0\0\x09N\0\x02t\0\0\0\x011t\0\0\0\x05Sleep",
        b"\x02\x09U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x011u",
        b"\x00\x20D\0\0\0\x09K\0\x02t\0\0\0\x011n",
        b"\x00\x10M\x01\0\0\0\0\0\0\0\x07_bemi\0\0\0\0\x05{...}",
    ],
};

fn values(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    // The server's text has no zero byte.
    if text.contains(&0) {
        return;
    }
    let array_of = |item| Kind::Array {
        item: Box::new(item),
        delimiter: b',',
    };
    let kinds = [
        Kind::Boolean,
        Kind::Number,
        Kind::Json,
        Kind::TimestampTz,
        array_of(Kind::Number),
        Kind::Text,
        array_of(Kind::Json),
        array_of(Kind::Text),
    ];
    let kind = &kinds[usize::from(*choice) % kinds.len()];
    let mut written = Vec::new();
    let is_text = value::write(&mut written, kind, text);
    assert_eq!(is_text, std::str::from_utf8(text).is_ok());
    // The server only calls a number what reads as one.
    let may_be_no_json = matches!(kind, Kind::Number) || *kind == array_of(Kind::Number);
    let json = copied(&written);
    let fit = jsonb::fit(&json);
    assert!(may_be_no_json || fit != Fit::Not, "{}", json.escape_ascii());
    if *kind == Kind::Text && is_text {
        let text_again: String = serde_json::from_slice(&json).expect("a JSON string");
        assert_eq!(text_again.as_bytes(), text);
    }
}

/// What COPY makes of a column.
fn copied(column: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = column.iter();
    while let Some(byte) = bytes.next() {
        assert!(
            !matches!(byte, b'\t' | b'\n' | b'\r'),
            "the column would end here"
        );
        match byte {
            b'\\' => text.put(match bytes.next() {
                Some(b'n') => b"\n",
                Some(b'r') => b"\r",
                Some(b't') => b"\t",
                Some(b'\\') => b"\\",
                other => panic!("the escape {other:?} means something else to COPY"),
            }),
            other => text.push(*other),
        }
    }
    text
}

fn abridge(data: &[u8]) {
    let [budget, cut, message @ ..] = data else {
        return;
    };
    let Ok(whole) = pgoutput::decode(message) else {
        return;
    };
    let body = [b"w", &[0; 24][..], message].concat();
    let abridged = |at: usize| {
        let mut abridger = Abridger::new(usize::from(*budget));
        let (head, tail) = body.split_at(at.min(body.len()));
        abridger
            .feed(head)
            .and_then(|()| abridger.feed(tail))
            .map(|()| abridger.finish())
    };
    let once = abridged(body.len());
    assert_eq!(once, abridged(usize::from(*cut)));
    if let Ok(body) = once {
        let shortened = pgoutput::decode(&body[25..]).expect("a message");
        assert_eq!(std::mem::discriminant(&shortened), std::mem::discriminant(&whole));
        assert!(body.len() <= 25 + message.len());
    }
}
