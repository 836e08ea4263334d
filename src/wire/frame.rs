//! Frames: one byte of type, four of length (its own four included), then the body.
//!
//! ```text
//!    ┌─────┬───────────────┬──────────────┐
//!    │ tag │ length (i32)  │ body         │     length = 4 + body.len()
//!    └─────┴───────────────┴──────────────┘
//!      0     1..5            5..1+length
//! ```

/// Bytes of a frame before its body: the tag and the length.
pub const HEADER_LEN: usize = 5;

/// The longest body a frame may announce, in bytes: the server reads lengths up to `PG_MAX_ALLOC_SIZE`
/// (`PQ_LARGE_MESSAGE_LIMIT` in `libpq.h`) and libpq no longer ones.
pub const MAX_FRAME_LEN: usize = 0x3fff_ffff;

/// What stands in the first five bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type, one of the constants of [`frontend::tag`](super::frontend::tag) or
    /// [`backend::tag`](super::backend::tag).
    pub tag: u8,
    /// Bytes of the whole frame, header included.
    pub frame_len: usize,
}

/// A length field that no message can have: the stream is out of step and cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid message length {length} in a message of type {:?}", *tag as char)]
pub struct BadLength {
    /// The type byte in front of it.
    pub tag: u8,
    /// The length as it was sent.
    pub length: i32,
}

impl Header {
    /// Reads a header from the front of `bytes`; `None` when fewer than five bytes are there.
    ///
    /// # Errors
    /// [`BadLength`] for lengths below 4 (a length counts itself) or above [`MAX_FRAME_LEN`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, BadLength> {
        let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes([a, b, c, d]);
        match usize::try_from(length) {
            Ok(n) if (4..=MAX_FRAME_LEN).contains(&n) => Ok(Some(Self {
                tag,
                frame_len: n + 1,
            })),
            _ => Err(BadLength { tag, length }),
        }
    }
}

/// Appends a frame to `out`; `body` writes what stands behind the length.
///
/// The length is filled in afterwards, so that the body need not be built elsewhere first.
pub fn write_frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = i32::try_from(out.len() - at).unwrap_or(i32::MAX);
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends `text` and its terminating NUL.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_five_bytes() {
        for n in 0..HEADER_LEN {
            assert_eq!(Header::read(&b"Z\0\0\0\x05I"[..n]), Ok(None));
        }
        assert_eq!(
            Header::read(b"Z\0\0\0\x05I"),
            Ok(Some(Header {
                tag: b'Z',
                frame_len: 6
            }))
        );
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [0, 1, 3, -1, i32::MIN, i32::MAX, 0x4000_0000] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(Header::read(&bytes), Err(BadLength { tag: b'Q', length }));
        }
    }

    #[test]
    fn a_written_frame_reads_back() {
        let mut out = Vec::new();
        write_frame(&mut out, b'Q', |body| write_string(body, b"select 1"));
        assert_eq!(
            Header::read(&out),
            Ok(Some(Header {
                tag: b'Q',
                frame_len: out.len()
            }))
        );
        assert_eq!(&out[HEADER_LEN..], b"select 1\0");
    }
}
