//! The `client_encoding` of a connection: which bytes of a text are one character, and which characters they are.
//!
//! Everything a client sends is in its `client_encoding`, which may change at any time by SET. Three questions
//! come up: where does a character end (a lexer must not take the second byte of a Shift JIS character for a
//! backslash), how many characters are these bytes (the server counts error positions in characters), and what
//! is this text as UTF-8 (a payload is JSON).
//!
//! Decoding is done by `encoding_rs`, which knows the encodings of the web. EUC_JIS_2004 and SHIFT_JIS_2004 are read
//! as EUC_JP and SJIS, with which they share all common characters. Those it lacks (SQL_ASCII, EUC_TW, JOHAB,
//! MULE_INTERNAL), and bytes that are not of the encoding they claim to be, are read as UTF-8 where they are valid
//! UTF-8, else each byte as U+00XX: decoding never fails, and no byte disappears into a replacement character.
//!
//! Rejected: lossy decoding, as it changes the statement; decoding ahead of the lexer, as positions would no longer
//! be those of the bytes that the server gets.

use std::borrow::Cow;

use encoding_rs::{Encoding, mem};

macro_rules! encodings {
    ($($(#[$attribute:meta])? $variant:ident: $($name:literal)+,)*) => {
        /// A character set that PostgreSQL accepts as `client_encoding` (manual, section "Character Set Support").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum ClientEncoding {
            $(
                $(#[$attribute])?
                #[doc = concat!("`", stringify!($variant), "`")]
                $variant,
            )*
        }

        /// Names without punctuation and in lower case, as `pg_char_to_encoding` (encnames.c) compares them.
        const NAMES: &[(&str, ClientEncoding)] = &[$($(($name, ClientEncoding::$variant),)+)*];
    };
}

encodings! {
    SqlAscii: "sqlascii",
    EucJp: "eucjp",
    EucCn: "euccn",
    EucKr: "euckr",
    EucTw: "euctw",
    EucJis2004: "eucjis2004",
    #[default]
    Utf8: "utf8" "unicode",
    MuleInternal: "muleinternal",
    Latin1: "latin1" "iso88591",
    Latin2: "latin2" "iso88592",
    Latin3: "latin3" "iso88593",
    Latin4: "latin4" "iso88594",
    Latin5: "latin5" "iso88599",
    Latin6: "latin6" "iso885910",
    Latin7: "latin7" "iso885913",
    Latin8: "latin8" "iso885914",
    Latin9: "latin9" "iso885915",
    Latin10: "latin10" "iso885916",
    Win1250: "win1250" "windows1250",
    Win1251: "win1251" "windows1251" "win",
    Win1252: "win1252" "windows1252",
    Win1253: "win1253" "windows1253",
    Win1254: "win1254" "windows1254",
    Win1255: "win1255" "windows1255",
    Win1256: "win1256" "windows1256",
    Win1257: "win1257" "windows1257",
    Win1258: "win1258" "windows1258" "abc" "tcvn" "tcvn5712" "vscii",
    Win866: "win866" "windows866" "alt",
    Win874: "win874" "windows874",
    Koi8r: "koi8r" "koi8",
    Koi8u: "koi8u",
    Iso8859_5: "iso88595",
    Iso8859_6: "iso88596",
    Iso8859_7: "iso88597",
    Iso8859_8: "iso88598",
    Sjis: "sjis" "mskanji" "shiftjis" "windows932" "win932",
    Big5: "big5" "windows950" "win950",
    Gbk: "gbk" "windows936" "win936",
    Uhc: "uhc" "windows949" "win949",
    Gb18030: "gb18030",
    Johab: "johab",
    ShiftJis2004: "shiftjis2004",
}

/// Bytes that announce the second and third code set of the EUC encodings.
const SINGLE_SHIFT_2: u8 = 0x8e;
const SINGLE_SHIFT_3: u8 = 0x8f;

impl ClientEncoding {
    /// The encoding of this name or alias, as the server reads `client_encoding`: case and punctuation do not count.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        NAMES
            .iter()
            .find(|(known, _)| *known == plain)
            .map(|(_, encoding)| *encoding)
    }

    /// The text as UTF-8. Never fails: the module says what becomes of bytes that the encoding does not know.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        if *self == Self::Latin1 {
            return mem::decode_latin1(bytes);
        }
        if *self == Self::Latin5 {
            return decode_latin5(bytes);
        }
        let decoded = self
            .of_the_web()
            .and_then(|web| web.decode_without_bom_handling_and_without_replacement(bytes));
        match decoded {
            Some(text) => text,
            None => match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => mem::decode_latin1(bytes),
            },
        }
    }

    /// How many characters the server counts in these bytes: `pg_mbstrlen_with_len` of mbutils.c, with which error
    /// positions are made. The server counts in its own encoding; so where `server_encoding` is SQL_ASCII, which
    /// converts nothing, count with [`ClientEncoding::SqlAscii`].
    pub fn count_chars(&self, bytes: &[u8]) -> usize {
        if bytes.is_ascii() {
            return bytes.len();
        }
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            rest = rest.get(self.char_len(rest)..).unwrap_or_default();
            count += 1;
        }
        count
    }

    /// Whether a byte below 0x80 is always the ASCII character, never the trail of a longer one. The server calls
    /// the others client-only encodings (`PG_ENCODING_IS_CLIENT_ONLY`).
    pub fn is_ascii_safe(&self) -> bool {
        !matches!(
            self,
            Self::Sjis
                | Self::ShiftJis2004
                | Self::Big5
                | Self::Gbk
                | Self::Uhc
                | Self::Gb18030
                | Self::Johab
        )
    }

    /// Bytes of the first character, as `pg_encoding_mblen` (wchar.c) has it: at least 1, never more than there are.
    pub fn char_len(&self, bytes: &[u8]) -> usize {
        let Some(&first) = bytes.first() else {
            return 1;
        };
        if first < 0x80 {
            return 1;
        }
        self.announced_len(first, bytes.get(1).copied())
            .clamp(1, bytes.len())
    }

    /// What a first byte above 0x7f promises, whether or not so many bytes follow.
    fn announced_len(self, first: u8, second: Option<u8>) -> usize {
        match self {
            Self::Utf8 => match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            },
            Self::EucJp | Self::EucJis2004 | Self::EucKr | Self::Johab => match first {
                SINGLE_SHIFT_3 => 3,
                _ => 2,
            },
            Self::EucTw => match first {
                SINGLE_SHIFT_2 => 4,
                SINGLE_SHIFT_3 => 3,
                _ => 2,
            },
            Self::Sjis | Self::ShiftJis2004 => match first {
                0xa1..=0xdf => 1,
                _ => 2,
            },
            Self::Gb18030 => match second {
                Some(0x30..=0x39) => 4,
                _ => 2,
            },
            Self::EucCn | Self::Big5 | Self::Gbk | Self::Uhc => 2,
            Self::MuleInternal => match first {
                0x81..=0x8d => 2,
                0x90..=0x9b => 3,
                0x9c..=0x9d => 4,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// The encoding of the web that has the same characters at the same bytes.
    fn of_the_web(self) -> Option<&'static Encoding> {
        Some(match self {
            Self::Utf8 => encoding_rs::UTF_8,
            Self::EucJp | Self::EucJis2004 => encoding_rs::EUC_JP,
            Self::EucCn | Self::Gbk => encoding_rs::GBK,
            Self::EucKr | Self::Uhc => encoding_rs::EUC_KR,
            Self::Sjis | Self::ShiftJis2004 => encoding_rs::SHIFT_JIS,
            Self::Big5 => encoding_rs::BIG5,
            Self::Gb18030 => encoding_rs::GB18030,
            Self::Latin2 => encoding_rs::ISO_8859_2,
            Self::Latin3 => encoding_rs::ISO_8859_3,
            Self::Latin4 => encoding_rs::ISO_8859_4,
            Self::Latin6 => encoding_rs::ISO_8859_10,
            Self::Latin7 => encoding_rs::ISO_8859_13,
            Self::Latin8 => encoding_rs::ISO_8859_14,
            Self::Latin9 => encoding_rs::ISO_8859_15,
            Self::Latin10 => encoding_rs::ISO_8859_16,
            Self::Iso8859_5 => encoding_rs::ISO_8859_5,
            Self::Iso8859_6 => encoding_rs::ISO_8859_6,
            Self::Iso8859_7 => encoding_rs::ISO_8859_7,
            Self::Iso8859_8 => encoding_rs::ISO_8859_8,
            Self::Win1250 => encoding_rs::WINDOWS_1250,
            Self::Win1251 => encoding_rs::WINDOWS_1251,
            Self::Win1252 => encoding_rs::WINDOWS_1252,
            Self::Win1253 => encoding_rs::WINDOWS_1253,
            Self::Win1254 => encoding_rs::WINDOWS_1254,
            Self::Win1255 => encoding_rs::WINDOWS_1255,
            Self::Win1256 => encoding_rs::WINDOWS_1256,
            Self::Win1257 => encoding_rs::WINDOWS_1257,
            Self::Win1258 => encoding_rs::WINDOWS_1258,
            Self::Win866 => encoding_rs::IBM866,
            Self::Win874 => encoding_rs::WINDOWS_874,
            Self::Koi8r => encoding_rs::KOI8_R,
            Self::Koi8u => encoding_rs::KOI8_U,
            Self::SqlAscii | Self::EucTw | Self::Johab | Self::MuleInternal | Self::Latin1 | Self::Latin5 => {
                return None;
            }
        })
    }
}

/// ISO 8859-9 is LATIN1 but for the six letters of Turkish; the web knows only its sibling windows-1254.
fn decode_latin5(bytes: &[u8]) -> Cow<'_, str> {
    let letter = |byte: &u8| match byte {
        0xd0 => 'Ğ',
        0xdd => 'İ',
        0xde => 'Ş',
        0xf0 => 'ğ',
        0xfd => 'ı',
        0xfe => 'ş',
        byte => char::from(*byte),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(letter).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        for (name, encoding) in [
            ("UTF8", ClientEncoding::Utf8),
            ("utf-8", ClientEncoding::Utf8),
            ("UNICODE", ClientEncoding::Utf8),
            ("ISO-8859-1", ClientEncoding::Latin1),
            ("iso_8859_9", ClientEncoding::Latin5),
            ("Shift_JIS", ClientEncoding::Sjis),
            ("SHIFT_JIS_2004", ClientEncoding::ShiftJis2004),
            ("WIN", ClientEncoding::Win1251),
            ("windows-949", ClientEncoding::Uhc),
            ("SQL_ASCII", ClientEncoding::SqlAscii),
        ] {
            assert_eq!(ClientEncoding::from_name(name), Some(encoding), "{name}");
        }
        assert_eq!(ClientEncoding::from_name("UTF16"), None);
        assert_eq!(ClientEncoding::from_name(""), None);
    }

    #[test]
    fn text_comes_out_as_the_characters_that_the_client_wrote() {
        for (name, bytes, text) in [
            ("UTF8", "naïve 日本".as_bytes(), "naïve 日本"),
            ("LATIN1", b"caf\xe9 \x80", "café \u{80}"),
            ("LATIN1", b"\xc3\xa9", "Ã©"),
            ("LATIN5", b"\xddstanbul \x9f", "İstanbul \u{9f}"),
            ("LATIN9", b"\xa4", "€"),
            ("WIN1252", b"\x80", "€"),
            ("SJIS", b"\x93\xfa\x96{", "日本"),
            ("SJIS", b"\x83\\", "ソ"),
            ("EUC_JP", b"\xc6\xfc\xcb\xdc", "日本"),
            ("EUC_CN", b"\xd6\xd0", "中"),
            ("GB18030", b"\x81\x30\x81\x30", "\u{80}"),
            ("BIG5", b"\xa5\x5c", "功"),
            ("UHC", b"\xb0\xa1", "가"),
            ("KOI8R", b"\xc1", "а"),
            ("SQL_ASCII", "é".as_bytes(), "é"),
            ("SQL_ASCII", b"\xe9", "é"),
            ("UTF8", b"broken \xff", "broken ÿ"),
        ] {
            let encoding = ClientEncoding::from_name(name).expect(name);
            assert_eq!(encoding.decode(bytes), text, "{name} {bytes:?}");
        }
    }

    #[test]
    fn characters_are_counted_as_the_server_counts_them() {
        for (name, bytes, count) in [
            ("UTF8", "naïve 日本".as_bytes(), 8),
            ("UTF8", b"\xe6\x97", 1),
            ("SQL_ASCII", "é".as_bytes(), 2),
            ("SJIS", b"\x83\\ \xb1", 3),
            ("GB18030", b"\x81\x30\x81\x30a", 2),
            ("EUC_TW", b"\x8e\xa2\xa1\xa1a", 2),
            ("EUC_JP", b"\x8f\xb0\xa1\x8e\xb1", 2),
            ("LATIN1", b"\xe9\xe9", 2),
        ] {
            let encoding = ClientEncoding::from_name(name).expect(name);
            assert_eq!(encoding.count_chars(bytes), count, "{name} {bytes:?}");
        }
    }

    #[test]
    fn a_character_is_never_longer_than_what_is_left() {
        for (_, encoding) in NAMES {
            for first in 0..=255 {
                assert_eq!(encoding.char_len(&[first]), 1, "{encoding:?} {first}");
            }
            assert_eq!(encoding.char_len(&[]), 1);
        }
    }
}
