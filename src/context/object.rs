//! One context: a JSON object, and its members as they will be written.

use serde_json::{Map, Value};

use super::json;

/// The members of a context, in the order they were written.
pub type Entries = Map<String, Value>;

/// A JSON object that describes who, where and why.
///
/// Numbers keep every digit and members their order, so that what was set is what is read back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    entries: Entries,
    members: Vec<u8>,
}

/// Why a text is no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContext {
    /// No JSON at all.
    #[error("it is not valid JSON: {0}")]
    Json(String),
    /// JSON, but an array, a string, a number, a boolean or null.
    #[error("it is {0}, not a JSON object")]
    NotAnObject(&'static str),
    /// Over the limit.
    #[error("its {len} bytes are over the limit of {max} bytes")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// The limit, in bytes (`[context] max_bytes`).
        max: usize,
    },
}

impl Context {
    /// Reads a context; an empty text, which is what the setting reads after a RESET, is none.
    ///
    /// # Errors
    /// [`InvalidContext`] says what is wrong with the text, without quoting it.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Option<Self>, InvalidContext> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > max_bytes {
            return Err(InvalidContext::TooLong {
                len: text.len(),
                max: max_bytes,
            });
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(entries)) => Ok(Some(Self::new(entries))),
            Ok(other) => Err(InvalidContext::NotAnObject(type_name(&other))),
            Err(error) => Err(InvalidContext::Json(describe(&error))),
        }
    }

    /// A context with these members.
    pub fn new(entries: Entries) -> Self {
        let mut members = Vec::new();
        json::write_members(&mut members, &entries);
        Self { entries, members }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The members, in order.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The members as ASCII JSON without braces.
    pub fn members(&self) -> &[u8] {
        &self.members
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The parser's complaint; it names line and column but never quotes the text.
fn describe(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Data | Category::Io => "a syntax error",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_context() {
        for (text, what) in [
            ("[1]", "an array"),
            ("null", "null"),
            ("\"x\"", "a string"),
            ("12", "a number"),
        ] {
            assert_eq!(
                Context::parse(text, 100),
                Err(InvalidContext::NotAnObject(what)),
                "{text}"
            );
        }
        assert!(matches!(
            Context::parse("{\"a\":", 100),
            Err(InvalidContext::Json(_))
        ));
        assert!(matches!(
            Context::parse("{} {}", 100),
            Err(InvalidContext::Json(_))
        ));
    }

    #[test]
    fn an_empty_text_is_no_context() {
        assert_eq!(Context::parse("", 100), Ok(None));
    }

    #[test]
    fn a_context_over_the_limit_is_refused() {
        assert_eq!(
            Context::parse(r#"{"a":1}"#, 6),
            Err(InvalidContext::TooLong { len: 7, max: 6 })
        );
    }

    #[test]
    fn numbers_keep_every_digit() {
        let text = r#"{"a":123456789012345678901234567890.10,"b":1E400}"#;
        let context = Context::parse(text, 100).unwrap().unwrap();
        assert_eq!(
            context.members(),
            br#""a":123456789012345678901234567890.10,"b":1e+400"#
        );
    }

    #[test]
    fn an_error_never_quotes_the_text() {
        let Err(error) = Context::parse("{\"password\": hunter2}", 100) else {
            panic!("accepted")
        };
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}
