//! Which JSON a jsonb column takes. Pure.
//!
//! Type json keeps any text that has JSON's form; jsonb stores values, and refuses what it cannot store. One
//! refused value would end a whole COPY, for ever: so it is found out before.
//!
//! Source: server, `json_lex_string` (jsonapi.c: `\u0000`, surrogates), `numeric_in` (numeric.c), `check_stack_depth`.

/// How deep arrays and objects may be nested. The server's parser goes some 6,000 levels deep with the default
/// `max_stack_depth` of 2 MB; nobody's data does.
const MAX_DEPTH: usize = 1_000;

/// How many digits type numeric has before the decimal point, and behind it (numeric.c: `NUMERIC_WEIGHT_MAX`,
/// `NUMERIC_DSCALE_MAX`).
const MAX_WHOLE_DIGITS: usize = 131_072;
const MAX_FRACTION_DIGITS: usize = 16_383;

/// How many digits a number with an exponent may have, and how large that may be: so that the two together stay within
/// the former. jsonb itself never writes one.
const MAX_DIGITS_AND_EXPONENT: usize = 10_000;

/// What a text is to a jsonb column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// An object that it takes.
    Object,
    /// Any other value that it takes.
    Other,
    /// JSON that it refuses, or no JSON.
    Not,
}

/// Whether a jsonb column takes `bytes`.
#[must_use]
pub fn fit(bytes: &[u8]) -> Fit {
    if std::str::from_utf8(bytes).is_err() {
        return Fit::Not;
    }
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.skip_blanks();
    let is_object = scanner.peek() == Some(b'{');
    match scanner.document() {
        Some(()) if is_object => Fit::Object,
        Some(()) => Fit::Other,
        None => Fit::Not,
    }
}

/// Every method is `None` where the text is not what it expects.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// An array or an object that is not closed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn document(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            if self.value_or_opening(&mut open)? && !self.endings(&mut open)? {
                return (self.at == self.bytes.len()).then_some(());
            }
        }
    }

    /// Whether a value is complete; if not, its first item begins here.
    fn value_or_opening(&mut self, open: &mut Vec<Container>) -> Option<bool> {
        self.skip_blanks();
        let (container, end) = match self.peek()? {
            b'{' => (Container::Object, b'}'),
            b'[' => (Container::Array, b']'),
            _scalar => return self.scalar().map(|()| true),
        };
        self.at += 1;
        self.skip_blanks();
        if self.peek()? == end {
            self.at += 1;
            return Some(true);
        }
        open.push(container);
        if open.len() > MAX_DEPTH {
            return None;
        }
        if container == Container::Object {
            self.key()?;
        }
        Some(false)
    }

    /// Closes what ends behind a value. Whether another value follows.
    fn endings(&mut self, open: &mut Vec<Container>) -> Option<bool> {
        loop {
            self.skip_blanks();
            let Some(container) = open.last() else {
                return Some(false);
            };
            match (container, self.next()?) {
                (Container::Array, b',') => return Some(true),
                (Container::Object, b',') => return self.key().map(|()| true),
                (Container::Array, b']') | (Container::Object, b'}') => drop(open.pop()),
                _anything_else => return None,
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.skip_blanks();
        self.string()?;
        self.skip_blanks();
        self.expect(b':')
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _digit_or_sign => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes
            .get(self.at..)?
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _control => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0 | 0xDC00..=0xDFFF => None,
                0xD800..=0xDBFF => {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    matches!(self.unit()?, 0xDC00..=0xDFFF).then_some(())
                }
                _character => Some(()),
            },
            _unknown => None,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| {
            Some(unit * 16 + char::from(self.next()?).to_digit(16)?)
        })
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let (mut whole, mut fraction) = (1, 0);
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            whole = self.digits()?.len();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            fraction = self.digits()?.len();
        }
        if whole > MAX_WHOLE_DIGITS || fraction > MAX_FRACTION_DIGITS {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let exponent = self.digits()?;
            let exponent: usize = std::str::from_utf8(exponent).ok()?.parse().ok()?;
            return (exponent.max(whole + fraction) <= MAX_DIGITS_AND_EXPONENT).then_some(());
        }
        Some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<&[u8]> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.bytes.get(begin..self.at).filter(|digits| !digits.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fit, MAX_DEPTH, fit};

    #[test]
    fn what_jsonb_takes_fits() {
        for text in [
            r#"1"#,
            r#"-0.5e+3"#,
            r#" [1, "a\u00e9\ud83d\ude00\n", [], {}, null, true, false] "#,
            "\"\u{1F600}\"",
            "0",
        ] {
            assert_eq!(fit(text.as_bytes()), Fit::Other, "{text}");
        }
        for text in [r#"{}"#, r#" {"a": {"b": [1, {"c": ""}]}, "d": 1e10} "#] {
            assert_eq!(fit(text.as_bytes()), Fit::Object, "{text}");
        }
    }

    #[test]
    fn what_jsonb_refuses_does_not() {
        for text in [
            r#""\u0000""#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "1e20000",
            "-1e-20000",
            "\"\n\"",
            "\"",
            "{",
            "[1,]",
            "[,1]",
            r#"{"a" 1}"#,
            r#"{"a": 1,}"#,
            r#"{1: 2}"#,
            "[1}",
            "01",
            "1.",
            "+1",
            "--1",
            "nul",
            "",
            " ",
            "1 2",
            r#""\x""#,
            r#""\u00g0""#,
            "[1 2]",
            "}",
            "1e",
            "1e99999999999999999999999",
        ] {
            assert_eq!(fit(text.as_bytes()), Fit::Not, "{text}");
        }
        assert_eq!(fit(b"\"\xFF\""), Fit::Not);
    }

    #[test]
    fn a_number_has_as_many_digits_as_type_numeric() {
        let fits = |text: String| fit(text.as_bytes()) == Fit::Other;
        assert!(fits("9".repeat(131_072)) && !fits("9".repeat(131_073)));
        assert!(fits(format!("-0.{}", "1".repeat(16_383))) && !fits(format!("0.{}", "1".repeat(16_384))));
        assert!(
            fits(format!("{}e1000", "9".repeat(10_000))) && !fits(format!("{}e1000", "9".repeat(10_001)))
        );
    }

    #[test]
    fn what_is_nested_too_deep_does_not_fit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(fit(nested(MAX_DEPTH).as_bytes()), Fit::Other);
        assert_eq!(fit(nested(MAX_DEPTH + 2).as_bytes()), Fit::Not);
    }
}
