//! SCRAM's keys: how they come from a password, how PostgreSQL stores them, how a proof is checked.
//!
//! ```text
//! SaltedPassword = PBKDF2(SASLprep(password), salt, iterations)
//! ClientKey      = HMAC(SaltedPassword, "Client Key")      proves the client
//! StoredKey      = SHA256(ClientKey)                       stored: checks ClientKey, cannot make it
//! ServerKey      = HMAC(SaltedPassword, "Server Key")      stored: proves the server
//! ClientProof    = ClientKey XOR HMAC(StoredKey, AuthMessage)
//! ```
//!
//! Who knows StoredKey and sees a proof can work out ClientKey: that is how the server checks it, and
//! how the proxy can log in upstream with a secret copied from `pg_authid`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// Length of every key here, in bytes: one SHA-256.
pub const KEY_LENGTH: usize = 32;

/// The prefix of a SCRAM secret in `pg_authid.rolpassword`.
pub const SECRET_PREFIX: &[u8] = b"SCRAM-SHA-256$";

/// Iterations of a secret that is made here: `SCRAM_SHA_256_DEFAULT_ITERATIONS`, as RFC 7677 asks for at least.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

/// Length of a salt that is made here, in bytes: `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT_LENGTH: usize = 16;

/// One of SCRAM's keys.
pub type Key = [u8; KEY_LENGTH];

/// What the server stores of a password: enough to check a client, not enough to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// PBKDF2 rounds.
    pub iterations: NonZeroU32,
    /// As it is, not in Base64.
    pub salt: Vec<u8>,
    pub(in crate::auth) stored_key: Key,
    pub(in crate::auth) server_key: Key,
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScramSecret")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl ScramSecret {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the format of `pg_authid`
    /// (`parse_scram_secret` in `auth-scram.c`). `None` when it is anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        let (cost, keys) = text.split_once('$')?;
        let (iterations, salt) = cost.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations.parse().ok()?,
            salt: STANDARD.decode(salt).ok()?,
            stored_key: decode_key(stored_key.as_bytes())?,
            server_key: decode_key(server_key.as_bytes())?,
        })
    }

    /// Makes the secret that the server would store for `password`.
    #[must_use]
    pub fn from_password(password: &[u8], salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let keys = ScramKeys::derive(password, &salt, iterations);
        Self {
            iterations,
            salt,
            stored_key: keys.stored_key(),
            server_key: keys.server_key,
        }
    }

    /// A secret that no password opens, for users that do not exist (`mock_scram_secret`).
    pub(in crate::auth) fn mock(salt: Vec<u8>) -> Self {
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt,
            stored_key: [0; KEY_LENGTH],
            server_key: [0; KEY_LENGTH],
        }
    }

    /// Works ClientKey out of a proof and returns it if it is the right one (`verify_client_proof`).
    pub(super) fn open(&self, proof: &Key, auth_message: &[u8]) -> Option<Key> {
        let mut client_key = sign(&self.stored_key, auth_message);
        for (byte, proof) in client_key.iter_mut().zip(proof) {
            *byte ^= proof;
        }
        bool::from(hash(&client_key).ct_eq(&self.stored_key)).then_some(client_key)
    }
}

/// What a client needs to log in: with these, no password is needed any more. Valid for one salt and
/// iteration count.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub(in crate::auth) client_key: Key,
    pub(in crate::auth) server_key: Key,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ScramKeys(..)")
    }
}

impl ScramKeys {
    /// The expensive step: `iterations` rounds of HMAC.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = [0; KEY_LENGTH];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            &prepare(password),
            &mut salted,
        );
        Self {
            client_key: sign(&salted, b"Client Key"),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    pub(super) fn stored_key(&self) -> Key {
        hash(&self.client_key)
    }

    /// ClientProof for `auth_message`.
    pub(super) fn prove(&self, auth_message: &[u8]) -> Key {
        let mut proof = sign(&self.stored_key(), auth_message);
        for (byte, key) in proof.iter_mut().zip(&self.client_key) {
            *byte ^= key;
        }
        proof
    }
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; KEY_LENGTH];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Reads a key or proof in Base64.
pub(super) fn decode_key(base64: &[u8]) -> Option<Key> {
    STANDARD.decode(base64).ok()?.try_into().ok()
}

/// The salt an unknown user gets: the same at every attempt, and not to be told from a real one
/// (`scram_mock_salt`: the start of SHA256(user, nonce of the cluster)).
pub(in crate::auth) fn mock_salt(user: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut salt = hash(&[user, nonce].concat()).to_vec();
    salt.truncate(SALT_LENGTH);
    salt
}

/// SASLprep where it works, the bytes as they are where it does not: passwords need not be UTF-8
/// (`pg_saslprep`, which also refuses a result of no characters).
fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).ok().map(stringprep::saslprep) {
        Some(Ok(Cow::Borrowed(prepared))) => Cow::Borrowed(prepared.as_bytes()),
        Some(Ok(Cow::Owned(prepared))) if !prepared.is_empty() => Cow::Owned(prepared.into_bytes()),
        Some(Ok(Cow::Owned(_)) | Err(_)) | None => Cow::Borrowed(password),
    }
}

fn hash(bytes: &[u8]) -> Key {
    let mut key = [0; KEY_LENGTH];
    key.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    key
}
