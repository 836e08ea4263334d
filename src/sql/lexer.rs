//! The tokens of a SQL text, as byte ranges, by the very rules of the server's scan.l.
//!
//! The server reads the text in its own encoding, after conversion; we read what the client sent. In the encodings
//! that the server calls client-only a byte below 0x80 may end a character, so there whole characters are skipped
//! wherever such a byte would mean something: in identifiers and behind a backslash. (No trail byte of any of them
//! is a quote, a dollar, a dash, a slash, a star or a newline.)
//!
//! Unterminated strings, identifiers and comments run to the end of the text; the server refuses the whole text.
//!
//! Rejected: a tokenizer that returns owned tokens, as most do. Most texts need a look at a few words only.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use crate::sql::Dialect;

/// How much of a run of operator characters is looked at, in bytes. The server refuses an operator of 64 and more, so
/// no more is needed; without a bound a long run of `+`, each an operator of its own, would be read again for each.
const LONGEST_RUN: usize = 66;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An identifier or keyword without quotes.
    Word,
    /// `".."`
    QuotedName,
    /// `U&".."`; a UESCAPE clause is two more tokens.
    UnicodeName,
    /// A string of any sort.
    String(Quote),
    /// `B'..'` or `X'..'`
    Bits,
    /// `$1`
    Param,
    /// A number without sign.
    Number,
    /// One character that stands for itself.
    Punct(u8),
    /// Several characters.
    Operator,
    /// `-- ..` without its newline.
    LineComment,
    /// `/* .. */`, with the comments nested in it.
    BlockComment,
}

/// How a string is quoted, which is how its text is to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// `'..'` in which only a quote is special.
    Plain,
    /// `E'..'`, or `'..'` where `standard_conforming_strings` is off.
    Escape,
    /// `U&'..'`; a UESCAPE clause is two more tokens.
    Unicode,
    /// `$tag$..$tag$`
    Dollar,
}

/// A token: bytes `start..end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
}

impl Token {
    /// Whether the grammar never sees it.
    pub fn is_comment(&self) -> bool {
        matches!(self.kind, TokenKind::LineComment | TokenKind::BlockComment)
    }
}

/// White space of the server (`scanner_isspace`, with the vertical tab that 16 added).
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_operator(byte: u8) -> bool {
    belongs_to_no_sql_operator(byte) || matches!(byte, b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=')
}

/// A character of operators that SQL itself has no use for.
const fn belongs_to_no_sql_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'
    )
}

/// What a run of bytes may be made of.
#[derive(Debug, Clone, Copy)]
enum Class {
    Space = 1,
    /// What may stand behind the first character of a word.
    Word = 2,
    Digit = 4,
    Operator = 8,
}

/// The classes of each byte: most of a text is runs, and one look at a table takes less than several comparisons.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < classes.len() {
        let byte = index as u8;
        let digit = byte.is_ascii_digit();
        classes[index] = Class::Space.bit_if(is_space(byte))
            | Class::Word.bit_if(starts_word(byte) || digit || byte == b'$')
            | Class::Digit.bit_if(digit)
            | Class::Operator.bit_if(is_operator(byte));
        index += 1;
    }
    classes
};

impl Class {
    const fn bit_if(self, belongs: bool) -> u8 {
        if belongs { self as u8 } else { 0 }
    }

    fn has(self, byte: u8) -> bool {
        CLASSES[usize::from(byte)] & self as u8 != 0
    }
}

/// An iterator over the tokens of a text, comments included, white space not. Copying one is a bookmark.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Lexer<'a> {
    /// Reads `text` from the byte `at`, which must not be inside of a token. Ranges count from the start of `text`.
    pub fn new(text: &'a [u8], at: usize, dialect: Dialect) -> Self {
        Self { text, at, dialect }
    }

    /// The byte at an index; NUL, which no text of the protocol can hold, behind the end.
    fn byte(&self, index: usize) -> u8 {
        self.text.get(index).copied().unwrap_or(0)
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        self.text.get(from..).unwrap_or_default()
    }

    /// Where the run of bytes of this class ends.
    fn run(&self, from: usize, class: Class) -> usize {
        let rest = self.rest(from);
        from + rest
            .iter()
            .position(|byte| !class.has(*byte))
            .unwrap_or(rest.len())
    }

    /// Where the character ends that starts here.
    fn past_char(&self, at: usize) -> usize {
        if self.byte(at) < 0x80 || self.dialect.encoding.is_ascii_safe() {
            at + 1
        } else {
            at + self.dialect.encoding.char_len(self.rest(at))
        }
    }

    fn token_at(&self, start: usize) -> (TokenKind, usize) {
        let next = self.byte(start + 1);
        match self.byte(start) {
            b'\'' if self.dialect.standard_conforming_strings => self.string(Quote::Plain, start + 1),
            b'\'' => self.string(Quote::Escape, start + 1),
            b'"' => (TokenKind::QuotedName, self.past_name(start + 1)),
            b'e' | b'E' if next == b'\'' => self.string(Quote::Escape, start + 2),
            b'b' | b'B' | b'x' | b'X' if next == b'\'' => (TokenKind::Bits, self.past_bits(start + 2)),
            // The server makes the keyword NCHAR of the N, followed by an ordinary string.
            b'n' | b'N' if next == b'\'' => (TokenKind::Word, start + 1),
            b'u' | b'U' if next == b'&' && self.byte(start + 2) == b'\'' => {
                self.string(Quote::Unicode, start + 3)
            }
            b'u' | b'U' if next == b'&' && self.byte(start + 2) == b'"' => {
                (TokenKind::UnicodeName, self.past_name(start + 3))
            }
            b'$' => self.dollar(start),
            b'0'..=b'9' => (TokenKind::Number, self.past_number(start)),
            b'.' if next.is_ascii_digit() => (TokenKind::Number, self.past_number(start)),
            b'-' if next == b'-' => (TokenKind::LineComment, self.past_line_comment(start)),
            b'/' if next == b'*' => (TokenKind::BlockComment, self.past_block_comment(start)),
            b':' if matches!(next, b':' | b'=') => (TokenKind::Operator, start + 2),
            b'.' if next == b'.' => (TokenKind::Operator, start + 2),
            byte if starts_word(byte) => (TokenKind::Word, self.past_word(start)),
            byte if is_operator(byte) => self.operator(start),
            byte => (TokenKind::Punct(byte), start + 1),
        }
    }

    fn past_word(&self, start: usize) -> usize {
        if self.dialect.encoding.is_ascii_safe() {
            return self.run(start, Class::Word);
        }
        let mut at = start;
        while Class::Word.has(self.byte(at)) {
            at = self.past_char(at);
        }
        at
    }

    /// Behind the quote that ends a name; `at` is behind the one that starts it.
    fn past_name(&self, mut at: usize) -> usize {
        while let Some(quote) = memchr(b'"', self.rest(at)) {
            at += quote + 1;
            if self.byte(at) != b'"' {
                return at;
            }
            at += 1;
        }
        self.text.len()
    }

    fn string(&self, quote: Quote, inside: usize) -> (TokenKind, usize) {
        (
            TokenKind::String(quote),
            self.pieces(quote, inside, |_| ()).unwrap_or(self.text.len()),
        )
    }

    /// Tells of each piece between quotes of a string that may go on in another line (a doubled quote ends no piece),
    /// and where the string ends; None where it does not. `at` is behind the first quote.
    pub fn pieces(&self, quote: Quote, mut at: usize, mut piece: impl FnMut(Range<usize>)) -> Option<usize> {
        let mut start = at;
        loop {
            let end = self.closing_quote(quote, at)?;
            if self.byte(end + 1) == b'\'' {
                at = end + 2;
                continue;
            }
            piece(start..end);
            match self.continuation(end + 1) {
                Some(inside) => (start, at) = (inside, inside),
                None => return Some(end + 1),
            }
        }
    }

    /// The next quote that no backslash escapes.
    fn closing_quote(&self, quote: Quote, mut at: usize) -> Option<usize> {
        if quote != Quote::Escape {
            return memchr(b'\'', self.rest(at)).map(|offset| at + offset);
        }
        if self.dialect.encoding.is_ascii_safe() {
            loop {
                let found = at + memchr2(b'\'', b'\\', self.rest(at))?;
                if self.byte(found) == b'\'' {
                    return Some(found);
                }
                at = found + 2;
            }
        }
        while at < self.text.len() {
            match self.byte(at) {
                b'\'' => return Some(at),
                b'\\' => at = self.past_char(at + 1),
                _ => at = self.past_char(at),
            }
        }
        None
    }

    /// Where a string goes on that ended here, if all up to the next quote is white space with a newline in it:
    /// `quotecontinue` of scan.l.
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut newline = false;
        loop {
            match self.byte(at) {
                b'\'' if newline => return Some(at + 1),
                b'-' if self.byte(at + 1) == b'-' => at = self.past_line_comment(at),
                byte if is_space(byte) => {
                    newline |= is_newline(byte);
                    at += 1;
                }
                _ => return None,
            }
        }
    }

    fn past_bits(&self, mut at: usize) -> usize {
        // A doubled quote does not exist here: it ends one literal and starts a string.
        while let Some(offset) = memchr(b'\'', self.rest(at)) {
            let end = at + offset + 1;
            match self.continuation(end) {
                Some(inside) => at = inside,
                None => return end,
            }
        }
        self.text.len()
    }

    /// A parameter, a dollar-quoted string, or a lone dollar.
    fn dollar(&self, start: usize) -> (TokenKind, usize) {
        if self.byte(start + 1).is_ascii_digit() {
            return (TokenKind::Param, self.run(start + 1, Class::Digit));
        }
        let mut at = start + 1;
        while starts_word(self.byte(at)) || (at > start + 1 && self.byte(at).is_ascii_digit()) {
            at = self.past_char(at);
        }
        if self.byte(at) != b'$' {
            return (TokenKind::Punct(b'$'), start + 1);
        }
        let delimiter = self.text.get(start..=at).unwrap_or_default();
        let end = memmem::find(self.rest(at + 1), delimiter);
        (
            TokenKind::String(Quote::Dollar),
            end.map_or(self.text.len(), |end| at + 1 + end + delimiter.len()),
        )
    }

    fn past_number(&self, start: usize) -> usize {
        let digits = self.run(start, Class::Digit);
        if digits > start && self.byte(digits) != b'.' && !Class::Word.has(self.byte(digits)) {
            return digits;
        }
        let radix_digits: fn(u8) -> bool = match (self.byte(start), self.byte(start + 1)) {
            (b'0', b'x' | b'X') => |byte| byte.is_ascii_hexdigit(),
            (b'0', b'o' | b'O') => |byte| matches!(byte, b'0'..=b'7'),
            (b'0', b'b' | b'B') => |byte| matches!(byte, b'0' | b'1'),
            _ => |_| false,
        };
        let end = self.past_digits(start + 2, radix_digits);
        if end > start + 2 {
            return end;
        }
        let decimal = |byte: u8| byte.is_ascii_digit();
        let mut at = self.past_digits(start, decimal);
        // `1..10` is three tokens.
        if self.byte(at) == b'.' && self.byte(at + 1) != b'.' {
            at = self.past_digits(at + 1, decimal);
        }
        if matches!(self.byte(at), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            if self.byte(at + 1 + sign).is_ascii_digit() {
                at = self.past_digits(at + 1 + sign, decimal);
            }
        }
        at
    }

    /// Digits, with single underscores between them.
    fn past_digits(&self, mut at: usize, digit: fn(u8) -> bool) -> usize {
        loop {
            if digit(self.byte(at)) {
                at += 1;
            } else if self.byte(at) == b'_' && digit(self.byte(at + 1)) {
                at += 2;
            } else {
                return at;
            }
        }
    }

    fn past_line_comment(&self, start: usize) -> usize {
        memchr2(b'\n', b'\r', self.rest(start)).map_or(self.text.len(), |offset| start + offset)
    }

    fn past_block_comment(&self, start: usize) -> usize {
        let mut depth = 1;
        let mut at = start + 2;
        while let Some(offset) = memchr2(b'*', b'/', self.rest(at)) {
            at += offset;
            match (self.byte(at), self.byte(at + 1)) {
                (b'/', b'*') => {
                    depth += 1;
                    at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return at;
                    }
                }
                _ => at += 1,
            }
        }
        self.text.len()
    }

    /// The longest run of operator characters, less a comment in it, less a trailing `+` or `-` unless one of the
    /// characters is of those that SQL itself does not use: the `operator` rule of scan.l.
    fn operator(&self, start: usize) -> (TokenKind, usize) {
        if !Class::Operator.has(self.byte(start + 1)) {
            return (TokenKind::Punct(self.byte(start)), start + 1);
        }
        let window = self.rest(start);
        let window = window.get(..LONGEST_RUN).unwrap_or(window);
        let starts_comment = |at: usize| matches!(window.get(at..at + 2), Some(b"/*" | b"--"));
        let end = (0..window.len())
            .find(|at| !window.get(*at).is_some_and(|byte| is_operator(*byte)) || starts_comment(*at));
        let mut operator = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
        if !operator.iter().any(|byte| belongs_to_no_sql_operator(*byte)) {
            while let [shorter @ .., b'+' | b'-'] = operator
                && !shorter.is_empty()
            {
                operator = shorter;
            }
        }
        match operator {
            [single] => (TokenKind::Punct(*single), start + 1),
            _ => (TokenKind::Operator, start + operator.len().max(1)),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let start = self.run(self.at, Class::Space);
        if start >= self.text.len() {
            return None;
        }
        let (kind, end) = self.token_at(start);
        let end = end.min(self.text.len());
        self.at = end;
        Some(Token { kind, start, end })
    }
}

#[cfg(test)]
mod tests;
