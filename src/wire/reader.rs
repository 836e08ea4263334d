//! Reading the fields of a message body, front to back.

use memchr::memchr;

/// A message whose body does not hold what its type promises.
///
/// The proxy never repairs such a message: it forwards it and lets the server say what is wrong, in the words
/// the client would have read without a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {message} message: {what}")]
pub struct Malformed {
    /// The message's name as in the manual.
    pub message: &'static str,
    /// What was expected and not there.
    pub what: &'static str,
}

/// A cursor over a message body; every read either yields the field or says what is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { message, rest: body }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            message: self.message,
            what,
        }
    }

    /// A NUL-terminated string, without its NUL. The protocol does not say in which encoding.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        self.up_to(memchr(0, self.rest))
    }

    /// The same, where it is a few bytes long: a loop is through them before a search by vectors is set up.
    pub fn name(&mut self) -> Result<&'a [u8], Malformed> {
        self.up_to(self.rest.iter().position(|byte| *byte == 0))
    }

    fn up_to(&mut self, terminator: Option<usize>) -> Result<&'a [u8], Malformed> {
        let end = terminator.ok_or_else(|| self.malformed("a string without its terminator"))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(text)
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| self.malformed("a field longer than the message"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| self.malformed("no byte left for a field"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// A value with its length in front; -1 stands for NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            n => match usize::try_from(n) {
                Ok(n) => self.bytes(n).map(Some),
                Err(_) => Err(self.malformed("a negative length")),
            },
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.malformed("a number cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }
}
