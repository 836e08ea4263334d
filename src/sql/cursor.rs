//! A walk over the tokens of a statement that the grammar sees, one token ahead.

use std::ops::Range;

use crate::sql::lexer::{Lexer, Quote, Token, TokenKind};
use crate::sql::{Dialect, TableName, literal};

/// Stands at a token of a statement. Copying it is a bookmark.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    text: &'a [u8],
    dialect: Dialect,
    lexer: Lexer<'a>,
    current: Option<Token>,
}

impl<'a> Cursor<'a> {
    /// At the first token of a range of the text.
    pub fn new(text: &'a [u8], range: Range<usize>, dialect: Dialect) -> Self {
        let text = text.get(..range.end).unwrap_or(text);
        let mut cursor = Self {
            text,
            dialect,
            lexer: Lexer::new(text, range.start, dialect),
            current: None,
        };
        cursor.advance();
        cursor
    }

    /// The token here; None behind the last.
    pub fn token(&self) -> Option<Token> {
        self.current
    }

    /// The bytes of the token here.
    pub fn bytes(&self) -> &'a [u8] {
        self.current
            .and_then(|token| self.text.get(token.start..token.end))
            .unwrap_or_default()
    }

    /// Moves to the next token that is no comment.
    pub fn advance(&mut self) {
        self.current = self.lexer.find(|token| !token.is_comment());
    }

    /// The text and the dialect that its tokens are read by.
    pub fn source(&self) -> (&'a [u8], Dialect) {
        (self.text, self.dialect)
    }

    /// The one behind this.
    pub fn next(mut self) -> Self {
        self.advance();
        self
    }

    /// Whether the statement ends here.
    pub fn at_end(&self) -> bool {
        self.current.is_none()
    }

    /// Whether this is a word without quotes.
    pub fn at_any_word(&self) -> bool {
        self.current.is_some_and(|token| token.kind == TokenKind::Word)
    }

    /// Whether this is the keyword, which is given in lower case.
    pub fn at(&self, keyword: &str) -> bool {
        self.at_any_word() && self.bytes().eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether this is one of the keywords.
    pub fn at_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.at(keyword))
    }

    /// Whether this is the character.
    pub fn at_punct(&self, punct: u8) -> bool {
        self.current
            .is_some_and(|token| token.kind == TokenKind::Punct(punct))
    }

    /// Whether this is an identifier or keyword, quoted or not.
    pub fn at_name(&self) -> bool {
        let kinds = [TokenKind::Word, TokenKind::QuotedName, TokenKind::UnicodeName];
        self.current.is_some_and(|token| kinds.contains(&token.kind))
    }

    /// Whether this is a string.
    pub fn at_string(&self) -> bool {
        self.current
            .is_some_and(|token| matches!(token.kind, TokenKind::String(_)))
    }

    /// Moves past the keyword, if it is here.
    pub fn eat(&mut self, keyword: &str) -> bool {
        let here = self.at(keyword);
        if here {
            self.advance();
        }
        here
    }

    /// Moves past one of the keywords, if one is here.
    pub fn eat_one_of(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    /// Moves past the character, if it is here.
    pub fn eat_punct(&mut self, punct: u8) -> bool {
        let here = self.at_punct(punct);
        if here {
            self.advance();
        }
        here
    }

    /// Moves past a group in parentheses, if one starts here.
    pub fn skip_group(&mut self) {
        if !self.at_punct(b'(') {
            return;
        }
        let mut depth = 0_usize;
        while !self.at_end() {
            if self.at_punct(b'(') {
                depth += 1;
            } else if self.at_punct(b')') {
                depth -= 1;
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    /// Moves past an identifier and tells it as the server knows it.
    pub fn name(&mut self) -> Option<String> {
        let token = self.current.filter(|_| self.at_name())?;
        let bytes = self.bytes();
        self.advance();
        let escape = if token.kind == TokenKind::UnicodeName {
            self.unicode_escape()?
        } else {
            literal::UNICODE_ESCAPE
        };
        literal::name(bytes, token.kind, escape, self.dialect)
    }

    /// Moves past `name`, `schema.name` or `database.schema.name`.
    pub fn table(&mut self) -> Option<TableName> {
        let mut table = TableName {
            schema: None,
            name: self.name()?,
        };
        while self.eat_punct(b'.') {
            let schema = std::mem::replace(&mut table.name, self.name()?);
            table.schema = Some(schema);
        }
        Some(table)
    }

    /// Moves past a string and tells its value, if it has one.
    pub fn string(&mut self) -> Option<String> {
        let token = self.current.filter(|_| self.at_string())?;
        self.advance();
        let is_unicode = token.kind == TokenKind::String(Quote::Unicode);
        let escape = if is_unicode {
            self.unicode_escape()?
        } else {
            literal::UNICODE_ESCAPE
        };
        literal::string(self.text, token, escape, self.dialect)
    }

    /// Moves past `UESCAPE '!'`, if it is here. None where the server would not have that character.
    fn unicode_escape(&mut self) -> Option<char> {
        let behind = self.next();
        let is_simple =
            |token: &Token| matches!(token.kind, TokenKind::String(quote) if quote != Quote::Unicode);
        let Some(token) = behind.current.filter(is_simple).filter(|_| self.at("uescape")) else {
            return Some(literal::UNICODE_ESCAPE);
        };
        *self = behind;
        self.advance();
        let value = literal::string(self.text, token, literal::UNICODE_ESCAPE, self.dialect)?;
        let mut chars = value.chars();
        let escape = chars
            .next()
            .filter(|c| !c.is_ascii_hexdigit() && !"+'\" \t\n\r\u{b}\u{c}".contains(*c));
        escape.filter(|_| chars.next().is_none())
    }
}
