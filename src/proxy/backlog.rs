//! Bytes that wait to be decided on, or for a socket to take them.

use bytes::{Buf, BytesMut};

/// Bytes that wait. Nearly always there are none, and then it is one word in what every turn of a relay goes through, with
/// no room kept.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<BytesMut>>);

impl Backlog {
    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Those that wait.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], AsRef::as_ref)
    }

    /// More wait behind them.
    pub fn extend(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.get_or_insert_default().extend_from_slice(bytes);
        }
    }

    /// The first ones, so many, wait no longer.
    pub fn advance(&mut self, count: usize) {
        if let Some(bytes) = &mut self.0 {
            bytes.advance(count.min(bytes.len()));
            if bytes.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl From<BytesMut> for Backlog {
    fn from(bytes: BytesMut) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(bytes)))
    }
}

impl From<Backlog> for BytesMut {
    fn from(backlog: Backlog) -> Self {
        backlog.0.map(|bytes| *bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_that_wait_take_no_room() {
        let mut backlog = Backlog::from(BytesMut::with_capacity(8 << 10));
        backlog.extend(b"");
        assert!(backlog.is_empty() && backlog.0.is_none());
        backlog.extend(b"abc");
        backlog.extend(b"de");
        backlog.advance(1);
        assert_eq!(backlog.bytes(), b"bcde");
        assert!(!backlog.is_empty());
        backlog.advance(9);
        assert!(backlog.is_empty() && backlog.0.is_none());
        assert_eq!(backlog.bytes(), b"");
    }
}
