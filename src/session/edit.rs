//! What becomes of one chunk of a stream: kept, dropped, added to.
//!
//! ```text
//!    input   ┌──────────┬────────┬──────────┬───────────────┐
//!            │  kept    │ dropped│  kept    │ not yet seen  │
//!            └──────────┴────────┴──────────┴───────────────┘
//!                                           ▲ at
//!    output  nothing is copied until the first drop or insert; from then on `scratch` holds it
//! ```
//! Nearly every chunk goes out as it came in, and then costs no copy at all.

/// An edit of one chunk, front to back.
#[derive(Debug)]
pub struct Edit<'a> {
    input: &'a [u8],
    at: usize,
    scratch: &'a mut Vec<u8>,
    edited: bool,
}

impl<'a> Edit<'a> {
    /// Starts at the front of `input`; `scratch` is emptied and used if the chunk is changed.
    pub fn new(input: &'a [u8], scratch: &'a mut Vec<u8>) -> Self {
        scratch.clear();
        Self {
            input,
            at: 0,
            scratch,
            edited: false,
        }
    }

    /// What was not yet decided on.
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// Bytes of the input that were decided on.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// The next `n` bytes go out as they are.
    pub fn keep(&mut self, n: usize) {
        let n = n.min(self.rest().len());
        if self.edited {
            self.scratch.extend_from_slice(&self.input[self.at..self.at + n]);
        }
        self.at += n;
    }

    /// The next `n` bytes do not go out.
    pub fn drop(&mut self, n: usize) {
        let n = n.min(self.rest().len());
        if n > 0 {
            self.output();
            self.at += n;
        }
    }

    /// Where to write what goes out ahead of the next byte.
    pub fn insert(&mut self) -> &mut Vec<u8> {
        self.output()
    }

    fn output(&mut self) -> &mut Vec<u8> {
        if !self.edited {
            self.scratch.extend_from_slice(&self.input[..self.at]);
            self.edited = true;
        }
        self.scratch
    }

    /// What goes out.
    pub fn finish(self) -> &'a [u8] {
        if self.edited {
            self.scratch
        } else {
            &self.input[..self.at]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_chunk_is_the_input_itself() {
        let (input, mut scratch) = (b"abcdef", Vec::new());
        let mut edit = Edit::new(input, &mut scratch);
        edit.keep(2);
        edit.keep(3);
        assert_eq!(edit.rest(), b"f");
        let out = edit.finish();
        assert_eq!(out, b"abcde");
        assert_eq!(out.as_ptr(), input.as_ptr());
    }

    #[test]
    fn drops_and_inserts_change_only_their_place() {
        let mut scratch = b"left over".to_vec();
        let mut edit = Edit::new(b"abcdef", &mut scratch);
        edit.keep(1);
        edit.insert().extend_from_slice(b"12");
        edit.keep(1);
        edit.drop(2);
        edit.keep(100);
        assert_eq!(edit.consumed(), 6);
        assert_eq!(edit.finish(), b"a12bef");
    }

    #[test]
    fn a_chunk_dropped_whole_leaves_nothing() {
        let mut scratch = Vec::new();
        let mut edit = Edit::new(b"abc", &mut scratch);
        edit.drop(3);
        assert_eq!(edit.finish(), b"");
    }
}
