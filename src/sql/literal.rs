//! What a literal or a name stands for, once the server has taken off its quotes.

use crate::sql::Dialect;
use crate::sql::lexer::{Lexer, Quote, Token, TokenKind};

/// NAMEDATALEN - 1: the server cuts longer identifiers off, in bytes.
const MAX_NAME: usize = 63;

/// The escape character of `U&` where no UESCAPE says otherwise.
pub const UNICODE_ESCAPE: char = '\\';

/// The value of a string token of the text, or None where the server would refuse it: a broken escape, a NUL, bytes
/// that are no text. Bytes made by escapes are taken for UTF-8, as the server's encoding nearly always is.
pub fn string(text: &[u8], token: Token, unicode_escape: char, dialect: Dialect) -> Option<String> {
    let TokenKind::String(quote) = token.kind else {
        return None;
    };
    let bytes = text.get(token.start..token.end)?;
    if quote == Quote::Unicode && !dialect.standard_conforming_strings {
        return None;
    }
    if quote == Quote::Dollar {
        return dollar(bytes, dialect);
    }
    let first_quote = token.start + memchr::memchr(b'\'', bytes)?;
    let mut pieces = Vec::new();
    Lexer::new(text, token.start, dialect).pieces(quote, first_quote + 1, |piece| pieces.push(piece))?;
    let mut value = Vec::with_capacity(bytes.len());
    for piece in pieces {
        let piece = dialect.encoding.decode(text.get(piece)?);
        match quote {
            Quote::Escape => unescape(&piece, &mut value)?,
            Quote::Plain | Quote::Unicode | Quote::Dollar => {
                value.extend_from_slice(piece.replace("''", "'").as_bytes());
            }
        }
    }
    let value = String::from_utf8(value)
        .ok()
        .filter(|value| !value.contains('\0'))?;
    if quote == Quote::Unicode {
        unicode(&value, unicode_escape)
    } else {
        Some(value)
    }
}

/// The identifier that a name token stands for: folded to lower case unless quoted, and cut at 63 bytes. None where the
/// server would refuse it.
pub fn name(token: &[u8], kind: TokenKind, unicode_escape: char, dialect: Dialect) -> Option<String> {
    let text = dialect.encoding.decode(token);
    let quoted = |prefix: &str| {
        let inside = text.get(prefix.len()..)?.strip_suffix('"')?;
        // An odd quote means that the last one is the second half of a pair: the name does not end.
        let is_whole = inside.matches('"').count() == 2 * inside.matches("\"\"").count();
        is_whole.then(|| inside.replace("\"\"", "\""))
    };
    let mut name = match kind {
        TokenKind::Word => text.to_ascii_lowercase(),
        TokenKind::QuotedName => quoted("\"")?,
        TokenKind::UnicodeName => unicode(&quoted("U&\"")?, unicode_escape)?,
        _ => return None,
    };
    if name.is_empty() {
        return None;
    }
    let mut end = MAX_NAME.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    Some(name)
}

fn dollar(token: &[u8], dialect: Dialect) -> Option<String> {
    let tag = memchr::memchr(b'$', token.get(1..)?)? + 2;
    let delimiter = token.get(..tag)?;
    let inside = token.get(tag..)?.strip_suffix(delimiter)?;
    Some(dialect.encoding.decode(inside).into_owned())
}

/// Takes the escapes out of a piece of `E'..'`, by the rules of the state `xe` of scan.l.
fn unescape(piece: &str, value: &mut Vec<u8>) -> Option<()> {
    let mut rest = piece;
    let mut high_surrogate = None;
    while let Some(first) = rest.chars().next() {
        let second = rest.get(first.len_utf8()..).and_then(|rest| rest.chars().next());
        let taken = match (first, second) {
            ('\\', Some(kind @ ('u' | 'U'))) => {
                let digits = if kind == 'u' { 4 } else { 8 };
                let code = hexadecimal(rest.get(2..2 + digits)?)?;
                push_utf16(code, &mut high_surrogate, |c| push_char(c, value))?;
                2 + digits
            }
            // Nothing may stand between the halves of a surrogate pair.
            _ if high_surrogate.is_some() => return None,
            ('\\', Some(escaped)) => unescape_short(rest, escaped, value)?,
            ('\'', Some('\'')) => {
                value.push(b'\'');
                2
            }
            (plain, _) => {
                push_char(plain, value);
                plain.len_utf8()
            }
        };
        rest = rest.get(taken..)?;
    }
    high_surrogate.is_none().then_some(())
}

/// An escape other than of a code point; the bytes it takes up.
fn unescape_short(rest: &str, escaped: char, value: &mut Vec<u8>) -> Option<usize> {
    let meant = match escaped {
        '0'..='7' => {
            let digits = leading(rest.get(1..)?, 3, |byte| matches!(byte, b'0'..=b'7'));
            // Three octal digits are nine bits, of which the server keeps the low eight.
            value.push((u32::from_str_radix(digits, 8).ok()? & 0xff) as u8);
            return Some(1 + digits.len());
        }
        'x' => {
            let digits = leading(rest.get(2..)?, 2, |byte| byte.is_ascii_hexdigit());
            value.push(if digits.is_empty() {
                b'x'
            } else {
                u8::from_str_radix(digits, 16).ok()?
            });
            return Some(2 + digits.len());
        }
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    };
    push_char(meant, value);
    Some(1 + escaped.len_utf8())
}

/// Takes the escapes out of `U&'..'` and `U&".."`, by the rules of `str_udeescape` in parser.c.
fn unicode(value: &str, escape: char) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value;
    let mut high_surrogate = None;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        let behind = rest.get(taken..)?;
        if first == escape && !behind.starts_with(escape) {
            let (sign, digits) = if behind.starts_with('+') { (1, 6) } else { (0, 4) };
            let code = hexadecimal(behind.get(sign..sign + digits)?)?;
            push_utf16(code, &mut high_surrogate, |c| plain.push(c))?;
            taken += sign + digits;
        } else {
            if high_surrogate.is_some() {
                return None;
            }
            plain.push(first);
            if first == escape {
                taken *= 2;
            }
        }
        rest = rest.get(taken..)?;
    }
    (high_surrogate.is_none() && !plain.contains('\0')).then_some(plain)
}

fn push_char(c: char, value: &mut Vec<u8>) {
    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A code point, or one half of a surrogate pair, whose other half must be next to it.
fn push_utf16(code: u32, high_surrogate: &mut Option<u32>, mut push: impl FnMut(char)) -> Option<()> {
    match (high_surrogate.take(), code) {
        (None, 0xd800..=0xdbff) => *high_surrogate = Some(code),
        (Some(high), 0xdc00..=0xdfff) => {
            push(char::from_u32(
                0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            )?);
        }
        (None, _) => push(char::from_u32(code)?),
        (Some(_), _) => return None,
    }
    Some(())
}

fn hexadecimal(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// At most `most` leading bytes that are such digits.
fn leading(text: &str, most: usize, digit: fn(u8) -> bool) -> &str {
    let count = text.bytes().take(most).take_while(|byte| digit(*byte)).count();
    text.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encoding::ClientEncoding;

    fn decoded(text: &str, escape: char, dialect: Dialect) -> Option<String> {
        let token = Lexer::new(text.as_bytes(), 0, dialect).next()?;
        match token.kind {
            TokenKind::String(_) => string(text.as_bytes(), token, escape, dialect),
            kind => name(text.as_bytes(), kind, escape, dialect),
        }
    }

    #[test]
    fn strings_have_the_value_that_the_server_gives_them() {
        for (text, expected) in [
            ("'it''s'", Some("it's")),
            (r"'a\n'", Some(r"a\n")),
            ("'a' -- it's\n 'b' \n\n 'c'", Some("abc")),
            (r"E'\'\\\n\t\v\q'", Some("'\\\n\t\u{b}q")),
            (r"E'\x41\x4\xg\101\7'", Some("A\u{4}xgA\u{7}")),
            (r"E'\xc3\xa9 \303\251'", Some("é é")),
            (r"E'\xe9'", None),
            (r"E'\u00e9\U0001F600\ud83d\ude00'", Some("é😀😀")),
            (r"E'\u00e'", None),
            (r"E'\u+0e9'", None),
            (r"E'\ud83d'", None),
            (r"E'\ud83dx\ude00'", None),
            (r"E'\ude00'", None),
            (r"E'\0'", None),
            ("E'a''b'\n'c\\\\'", Some("a'bc\\")),
            (r"U&'d\0061t\+000061 \\ '''", Some(r"data \ '")),
            (r"U&'\d83d\de00'", Some("😀")),
            (r"U&'\006'", None),
            (r"U&'\0000'", None),
            ("$$it's \\n$$", Some("it's \\n")),
            ("$a$ $$ $a$", Some(" $$ ")),
            ("$$open", None),
            ("$a$open$", None),
            ("$$", None),
            ("'open", None),
            ("E'open\\", None),
        ] {
            assert_eq!(
                decoded(text, UNICODE_ESCAPE, Dialect::default()).as_deref(),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            decoded(r"U&'!0041!!\'", '!', Dialect::default()).as_deref(),
            Some(r"A!\")
        );
        let old = Dialect {
            standard_conforming_strings: false,
            ..Dialect::default()
        };
        assert_eq!(decoded(r"'a\x41'", UNICODE_ESCAPE, old).as_deref(), Some("aA"));
    }

    #[test]
    fn names_are_folded_unless_quoted() {
        let long = "x".repeat(62) + "é";
        for (text, expected) in [
            ("Todo", Some("todo")),
            ("ÀB", Some("Àb")),
            ("\"To\"\"do\"", Some("To\"do")),
            (r#"U&"d\0061ta""#, Some("data")),
            ("\"open", None),
            ("\"\"", None),
            ("\"open\"\"", None),
            (long.as_str(), long.get(..62)),
        ] {
            assert_eq!(
                decoded(text, UNICODE_ESCAPE, Dialect::default()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_is_decoded_from_the_encoding_of_the_client() {
        let dialect = Dialect {
            encoding: ClientEncoding::Sjis,
            ..Dialect::default()
        };
        let text = b"E'\x83\\\\n'";
        let token = Lexer::new(text, 0, dialect).next().expect("a string");
        assert_eq!(
            string(text, token, UNICODE_ESCAPE, dialect).as_deref(),
            Some("ソ\n")
        );
    }
}
