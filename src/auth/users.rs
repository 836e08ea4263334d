//! The users file of mode `scram`, in the format of PgBouncer's `userlist.txt`.
//!
//! ```text
//! ; a comment
//! "alice"  "her password, with ""quotes"" doubled"
//! "bob"    "SCRAM-SHA-256$4096:c2FsdA==$StoredKey:ServerKey"
//! ```
//!
//! A secret copied from `pg_authid` is the better entry: who steals the file cannot log in with it. A
//! password is turned into such a secret once, when the file is read, so that a login costs the same
//! whether the user exists or not.

use std::collections::HashMap;
use std::fmt;

use super::error::display_name;
use super::scram::{ScramSecret, mock_salt};
use super::secret::Secret;

/// PBKDF2 rounds for passwords in the file, as the server's `scram_iterations`.
const PASSWORD_ITERATIONS: std::num::NonZeroU32 = super::scram::DEFAULT_ITERATIONS;

/// How the server recognises a stored MD5 hash: `md5` and 32 hexadecimal digits (`get_password_type`).
const MD5_HASH_LENGTH: usize = 35;

/// What makes the salts of unknown users unpredictable, and stable as long as the process lives.
///
/// The server keeps one per cluster (`mock_authentication_nonce` in `pg_control`).
#[derive(Clone)]
pub struct MockNonce([u8; 32]);

impl MockNonce {
    /// `random` must come from a good source of randomness, once per process.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

impl fmt::Debug for MockNonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MockNonce(..)")
    }
}

/// What is known of one user.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// Checks the client; a mock where `unusable` says why.
    pub(super) secret: ScramSecret,
    /// The password itself, where the file has it: serves every method upstream.
    pub(super) password: Option<Secret>,
    /// Why this login can only fail. For the log, never for the client.
    pub(super) unusable: Option<String>,
}

/// The users that may log in.
#[derive(Debug, Clone)]
pub struct Users {
    records: HashMap<Box<[u8]>, UserRecord>,
    nonce: MockNonce,
    warnings: Vec<String>,
}

/// A line of a users file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the users file: {what}; a line is \"user\" \"password or SCRAM secret\"")]
pub struct UsersError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it. Never shows the line: it may hold a password.
    pub what: &'static str,
}

impl Users {
    /// Reads a whole file. One PBKDF2 per password in it: about a millisecond each.
    ///
    /// # Errors
    /// [`UsersError`] for the first line that is neither an entry nor a comment, or repeats a user.
    pub fn parse(text: &[u8], nonce: MockNonce) -> Result<Self, UsersError> {
        let mut users = Self {
            records: HashMap::new(),
            nonce,
            warnings: Vec::new(),
        };
        for (position, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let at = |what| UsersError {
                line: position + 1,
                what,
            };
            let Some((user, secret)) = parse_line(line).map_err(at)? else {
                continue;
            };
            let record = users.record(&user, &secret);
            if let Some(reason) = &record.unusable {
                users.warnings.push(format!("line {}: {reason}", position + 1));
            }
            if users.records.insert(user.into(), record).is_some() {
                return Err(at("the user was on a line before"));
            }
        }
        Ok(users)
    }

    /// Entries that nobody can log in with, and why. To be logged when the file is read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nobody at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What a login of `user` is checked against. An unknown user gets a record that looks like any
    /// other and that nobody can open.
    #[must_use]
    pub fn lookup(&self, user: &[u8]) -> UserRecord {
        self.records.get(user).cloned().unwrap_or_else(|| {
            self.unusable(
                user,
                format!("user \"{}\" is not in the users file", display_name(user)),
            )
        })
    }

    fn record(&self, user: &[u8], secret: &[u8]) -> UserRecord {
        let shown = display_name(user);
        if let Some(secret) = ScramSecret::parse(secret) {
            return UserRecord {
                secret,
                password: None,
                unusable: None,
            };
        }
        if secret.starts_with(super::scram::SECRET_PREFIX) {
            return self.unusable(user, format!("the SCRAM secret of user \"{shown}\" is malformed"));
        }
        if is_md5_hash(secret) {
            let reason = format!("user \"{shown}\" has an MD5 hash, which cannot be used for SCRAM");
            return self.unusable(user, reason);
        }
        if secret.is_empty() {
            return self.unusable(user, format!("user \"{shown}\" has no password"));
        }
        UserRecord {
            secret: ScramSecret::from_password(secret, mock_salt(user, &self.nonce.0), PASSWORD_ITERATIONS),
            password: Some(Secret::new(secret)),
            unusable: None,
        }
    }

    fn unusable(&self, user: &[u8], reason: String) -> UserRecord {
        UserRecord {
            secret: ScramSecret::mock(mock_salt(user, &self.nonce.0)),
            password: None,
            unusable: Some(reason),
        }
    }
}

fn is_md5_hash(secret: &[u8]) -> bool {
    secret.len() == MD5_HASH_LENGTH
        && secret
            .strip_prefix(b"md5")
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

type Entry = (Vec<u8>, Vec<u8>);

/// `None` for an empty line or a comment.
fn parse_line(line: &[u8]) -> Result<Option<Entry>, &'static str> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b";") || line.starts_with(b"#") {
        return Ok(None);
    }
    let (user, rest) = parse_quoted(line).ok_or("no user name in double quotes")?;
    if user.is_empty() {
        return Err("the user name is empty");
    }
    let (secret, rest) = parse_quoted(rest.trim_ascii_start()).ok_or("no password in double quotes")?;
    if user.contains(&0) || secret.contains(&0) {
        return Err("a zero byte");
    }
    match rest.trim_ascii_start().first() {
        None | Some(b';' | b'#') => Ok(Some((user, secret))),
        Some(_) => Err("something after the password"),
    }
}

/// A text in double quotes, quotes inside doubled, and what follows it.
fn parse_quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut value = Vec::new();
    loop {
        let end = memchr::memchr(b'"', rest)?;
        let (part, after) = rest.split_at(end);
        value.extend_from_slice(part);
        rest = after.strip_prefix(b"\"")?;
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                value.push(b'"');
                rest = after;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MockNonce, Users};

    const SECRET: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn parse(text: &str) -> Users {
        Users::parse(text.as_bytes(), MockNonce::new([7; 32])).unwrap()
    }

    fn complaint(text: &str) -> String {
        Users::parse(text.as_bytes(), MockNonce::new([7; 32]))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_file_holds_comments_empty_lines_and_doubled_quotes() {
        let users = parse("; one\n# two\n\n  \"a\"\"b\"\t\"p\"\"w; #\" ; three\r\n");
        assert_eq!(users.len(), 1);
        let record = users.lookup(b"a\"b");
        assert_eq!(record.password.unwrap().expose(), b"p\"w; #");
    }

    #[test]
    fn a_secret_from_pg_authid_is_no_password() {
        let users = parse(&format!("\"bob\" \"{SECRET}\""));
        let record = users.lookup(b"bob");
        assert!(record.password.is_none() && record.unusable.is_none());
        assert_eq!(record.secret.iterations.get(), 4096);
        assert_eq!(record.secret.salt.len(), 16);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named_without_showing_it() {
        for (text, what) in [
            (
                "\"a\" \"b\"\nalice \"pencil\"",
                "line 2 of the users file: no user name in double quotes",
            ),
            ("\"alice\" pencil", "no password in double quotes"),
            ("\"alice\" \"pencil", "no password in double quotes"),
            ("\"alice\" \"pencil\" x", "something after the password"),
            ("\"\" \"pencil\"", "the user name is empty"),
            (
                "\"a\" \"b\"\n\"a\" \"pencil\"",
                "line 2 of the users file: the user was on a line before",
            ),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(what), "{complaint}");
            assert!(!complaint.contains("pencil"), "{complaint}");
        }
    }

    #[test]
    fn an_entry_that_cannot_do_scram_warns_and_refuses() {
        let users = parse(concat!(
            "\"m\" \"md50123456789abcdef0123456789abcdef\"\n",
            "\"s\" \"SCRAM-SHA-256$4096:!!$a:b\"\n",
            "\"e\" \"\"\n",
            "\"p\" \"md5 is a fine password\"\n",
        ));
        assert_eq!(
            users.warnings(),
            [
                "line 1: user \"m\" has an MD5 hash, which cannot be used for SCRAM",
                "line 2: the SCRAM secret of user \"s\" is malformed",
                "line 3: user \"e\" has no password",
            ]
        );
        assert!(users.lookup(b"m").unusable.is_some());
        assert!(users.lookup(b"p").unusable.is_none());
    }

    #[test]
    fn an_unknown_user_looks_like_a_known_one_and_always_the_same() {
        let users = parse("\"a\" \"b\"");
        let (known, unknown) = (users.lookup(b"a"), users.lookup(b"nobody"));
        assert_eq!(known.secret.salt.len(), unknown.secret.salt.len());
        assert_eq!(known.secret.iterations, unknown.secret.iterations);
        assert_eq!(unknown.secret.salt, users.lookup(b"nobody").secret.salt);
        assert_ne!(unknown.secret.salt, users.lookup(b"nobody2").secret.salt);
        let elsewhere = Users::parse(b"", MockNonce::new([8; 32])).unwrap();
        assert_ne!(unknown.secret.salt, elsewhere.lookup(b"nobody").secret.salt);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let users = parse(&format!("\"a\" \"pencil\"\n\"b\" \"{SECRET}\""));
        let shown = format!("{users:?}");
        assert!(!shown.contains("pencil"), "{shown}");
        assert!(!shown.contains("WG5d") && !shown.contains("88, 110"), "{shown}");
    }
}
