//! The text of a SCRAM message, `a=value,b=value,...`, read as the server reads it.
//!
//! The server walks a C string; the end of the text is the character 0 to it, and its messages show
//! that. The caller refuses texts with a zero byte first, so a 0 here always means the end.

use crate::auth::error::ScramViolation;

/// A cursor over the message of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Starts at the beginning (`scram_exchange` makes the same two checks).
    pub fn new(message: &'a [u8]) -> Result<Self, ScramViolation> {
        if message.is_empty() {
            return Err(malformed("The message is empty.".to_owned()));
        }
        if memchr::memchr(0, message).is_some() {
            return Err(malformed(
                "Message length does not match input length.".to_owned(),
            ));
        }
        Ok(Self {
            whole: message,
            rest: message,
        })
    }

    /// The next character, 0 at the end.
    pub fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What was read, without the comma that ended it.
    pub fn before(&self) -> &'a [u8] {
        let read = self.whole.len() - self.rest.len();
        let before = &self.whole[..read];
        before.strip_suffix(b",").unwrap_or(before)
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Skips one character.
    pub fn advance(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Skips the comma that must come next.
    pub fn comma(&mut self) -> Result<(), ScramViolation> {
        if self.peek() != b',' {
            let found = sanitize_char(self.peek());
            return Err(malformed(format!(
                "Comma expected, but found character \"{found}\"."
            )));
        }
        self.advance();
        Ok(())
    }

    /// The value of the attribute that must come next (`read_attr_value`).
    pub fn value_of(&mut self, attribute: u8) -> Result<&'a [u8], ScramViolation> {
        if self.peek() != attribute {
            return Err(malformed(format!(
                "Expected attribute \"{}\" but found \"{}\".",
                char::from(attribute),
                sanitize_char(self.peek())
            )));
        }
        self.value(attribute)
    }

    /// The next attribute, whatever it is (`read_any_attr`).
    pub fn any(&mut self) -> Result<(u8, &'a [u8]), ScramViolation> {
        let attribute = self.peek();
        if self.is_at_end() {
            return Err(malformed(
                "Attribute expected, but found end of string.".to_owned(),
            ));
        }
        if !attribute.is_ascii_alphabetic() {
            let found = sanitize_char(attribute);
            return Err(malformed(format!(
                "Attribute expected, but found invalid character \"{found}\"."
            )));
        }
        Ok((attribute, self.value(attribute)?))
    }

    /// `=value` up to the next comma or the end; the comma is skipped.
    fn value(&mut self, attribute: u8) -> Result<&'a [u8], ScramViolation> {
        self.advance();
        if self.peek() != b'=' {
            let attribute = char::from(attribute);
            return Err(malformed(format!(
                "Expected character \"=\" for attribute \"{attribute}\"."
            )));
        }
        self.advance();
        let end = memchr::memchr(b',', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.advance();
        Ok(value)
    }
}

pub(super) fn malformed(detail: String) -> ScramViolation {
    ScramViolation::Malformed { detail }
}

/// RFC 5802 `printable`: visible ASCII without the comma (`is_scram_printable`).
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

/// One character for an error message (`sanitize_char`).
pub(super) fn sanitize_char(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("'{}'", char::from(byte))
    } else {
        format!("0x{byte:02x}")
    }
}

/// At most 30 characters for an error message (`sanitize_str`).
pub(super) fn sanitize_str(text: &[u8]) -> String {
    const SHOWN: usize = 30;
    let visible = |byte: &u8| {
        if byte.is_ascii_graphic() {
            char::from(*byte)
        } else {
            '?'
        }
    };
    text.iter().take(SHOWN).map(visible).collect()
}
