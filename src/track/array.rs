//! Arrays as the server writes them: `{1,NULL,"a b",{2}}`. Pure.
//!
//! Source: server, `array_out` (arrayfuncs.c); manual, "Array Input and Output Syntax".

/// A piece of an array's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`
    Open,
    /// `}`
    Close,
    /// Between two items.
    Delimiter,
    /// An item that is NULL.
    Null,
    /// An item without quotes.
    Plain(&'a [u8]),
    /// What stands between an item's quotes, with its backslashes.
    Quoted(&'a [u8]),
}

/// The pieces of `text`, front to back. Ends early where the text is none of an array; see [`is_array`].
pub fn tokens(text: &[u8], delimiter: u8) -> Tokens<'_> {
    Tokens {
        rest: text,
        delimiter,
    }
}

/// See [`tokens`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
    delimiter: u8,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (first, behind) = self.rest.split_first()?;
        let (token, rest) = match *first {
            b'{' => (Token::Open, behind),
            b'}' => (Token::Close, behind),
            b'"' => {
                let end = end_of_quoted(behind)?;
                (Token::Quoted(behind.get(..end)?), behind.get(end + 1..)?)
            }
            byte if byte == self.delimiter => (Token::Delimiter, behind),
            _item => {
                let is_end = |byte: &u8| matches!(*byte, b'{' | b'}' | b'"') || *byte == self.delimiter;
                let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
                let (item, rest) = self.rest.split_at(end);
                let token = if item == b"NULL" {
                    Token::Null
                } else {
                    Token::Plain(item)
                };
                (token, rest)
            }
        };
        self.rest = rest;
        Some(token)
    }
}

fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        match text.get(at)? {
            b'"' => return Some(at),
            _backslash => at += 2,
        }
    }
}

/// Whether `text` is one array in the usual form. One whose subscripts do not begin at 1 is not
/// (`[0:1]={1,2}`): JSON could not say so.
#[must_use]
pub fn is_array(text: &[u8], delimiter: u8) -> bool {
    let mut pieces = tokens(text, delimiter);
    let mut depth = 0_usize;
    // Whether an item, or an array in the array, may stand here.
    let mut wants_item = true;
    let mut is_first = true;
    for token in pieces.by_ref() {
        if !is_first && depth == 0 {
            return false;
        }
        match token {
            Token::Open if wants_item => depth += 1,
            // An array without items has nothing in front of its end.
            Token::Close if depth > 0 && (!wants_item || text == b"{}") => {
                depth -= 1;
                wants_item = false;
            }
            Token::Delimiter if !wants_item => wants_item = true,
            Token::Null | Token::Plain(_) | Token::Quoted(_) if wants_item && depth > 0 => wants_item = false,
            _out_of_place => return false,
        }
        is_first = false;
    }
    depth == 0 && !is_first && pieces.rest.is_empty()
}

/// An item without its backslashes.
#[must_use]
pub fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let mut item = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        item.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    item
}

#[cfg(test)]
mod tests {
    use super::{Token, is_array, tokens, unquoted};

    #[test]
    fn an_array_comes_apart_into_its_items() {
        let all: Vec<Token<'_>> = tokens(br#"{1,NULL,"a \"b\", {",{"NULL"}}"#, b',').collect();
        let expected = [
            Token::Open,
            Token::Plain(b"1"),
            Token::Delimiter,
            Token::Null,
            Token::Delimiter,
            Token::Quoted(br#"a \"b\", {"#),
            Token::Delimiter,
            Token::Open,
            Token::Quoted(b"NULL"),
            Token::Close,
            Token::Close,
        ];
        assert_eq!(all, expected);
        assert_eq!(unquoted(br#"a \"b\" \\"#), br#"a "b" \"#);
    }

    #[test]
    fn what_the_server_writes_is_an_array() {
        for text in [
            "{}",
            "{1}",
            "{1,2}",
            "{{1,2},{3,4}}",
            r#"{"}",NULL}"#,
            r#"{""}"#,
            "{a b,c}",
        ] {
            assert!(is_array(text.as_bytes(), b','), "{text}");
        }
        assert!(is_array(b"{(1,1),(0,0);(2,2),(0,0)}", b';'));
    }

    #[test]
    fn what_it_does_not_write_is_none() {
        for text in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "{1}}",
            "{1}{2}",
            "{,1}",
            "{1,}",
            "{1 ,,2}",
            r#"{"a}"#,
            "[0:1]={1,2}",
            "{1}x",
            r#"{"a"b}"#,
            "{{}}",
            "{{},{}}",
            "1 2 3",
        ] {
            assert!(!is_array(text.as_bytes(), b','), "{text}");
        }
    }
}
