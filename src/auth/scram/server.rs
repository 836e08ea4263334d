//! The server's role in SCRAM: the proxy checks the client (`auth-scram.c`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::attributes::{Attributes, is_printable, malformed, sanitize_char, sanitize_str};
use super::keys::{Key, ScramKeys, ScramSecret, decode_key, sign};
use super::{BINDING_TYPE, BOUND_GS2_HEADER, RAW_NONCE_LENGTH};
use crate::auth::error::ScramViolation;
use crate::auth::message::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

/// One login of one client, from the offer to the verdict.
#[derive(Debug)]
pub(in crate::auth) struct ServerExchange {
    secret: ScramSecret,
    /// Goes through the motions and fails at the end: the user does not exist or cannot use SCRAM.
    doomed: bool,
    /// `tls-server-end-point` of our own certificate; with it SCRAM-SHA-256-PLUS is offered.
    server_end_point: Option<Vec<u8>>,
    server_nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Offered,
    /// A mechanism was chosen without an initial response: an empty challenge was sent.
    Chosen {
        bound: bool,
    },
    SaltSent(FirstMessages),
    Finished,
}

/// What the proof at the end covers, and what the last message must repeat.
#[derive(Debug)]
struct FirstMessages {
    binding_flag: u8,
    client_first_bare: Vec<u8>,
    nonce: Vec<u8>,
    server_first: Vec<u8>,
}

/// What the client's message led to.
#[derive(Debug)]
pub(in crate::auth) enum ServerStep {
    /// Send this as AuthenticationSASLContinue.
    Challenge(Vec<u8>),
    /// The exchange is over.
    Verdict(Verdict),
}

/// How an exchange ended.
#[derive(Debug)]
pub(in crate::auth) enum Verdict {
    /// Send `server_final` as AuthenticationSASLFinal. The keys are the client's own.
    Authenticated { server_final: Vec<u8>, keys: ScramKeys },
    /// The proof was wrong, or the exchange was doomed.
    Refused,
}

impl ServerExchange {
    /// `nonce` must be random and used once.
    pub fn new(
        secret: ScramSecret,
        doomed: bool,
        server_end_point: Option<Vec<u8>>,
        nonce: [u8; RAW_NONCE_LENGTH],
    ) -> Self {
        let server_nonce = STANDARD.encode(nonce);
        Self {
            secret,
            doomed,
            server_end_point,
            server_nonce,
            state: State::Offered,
        }
    }

    /// The nonce of a published example.
    #[cfg(test)]
    pub fn with_server_nonce(self, server_nonce: &str) -> Self {
        Self {
            server_nonce: server_nonce.to_owned(),
            ..self
        }
    }

    /// For the AuthenticationSASL, best first (`scram_get_mechanisms`).
    pub fn mechanisms(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        let plus = self.server_end_point.is_some().then_some(SCRAM_SHA_256_PLUS);
        plus.into_iter().chain([SCRAM_SHA_256])
    }

    /// Whether the next message is a SASLInitialResponse and not a SASLResponse.
    pub fn awaits_choice(&self) -> bool {
        matches!(self.state, State::Offered)
    }

    /// SASLInitialResponse: the client's choice and, if it sent one, its first message.
    pub fn choose(&mut self, mechanism: &[u8], data: Option<&[u8]>) -> Result<ServerStep, ScramViolation> {
        let bound = match (mechanism, &self.server_end_point) {
            (SCRAM_SHA_256_PLUS, Some(_)) => true,
            (SCRAM_SHA_256, _) => false,
            _ => return Err(ScramViolation::InvalidMechanism),
        };
        match data {
            Some(data) => self.first(bound, data),
            None => {
                self.state = State::Chosen { bound };
                Ok(ServerStep::Challenge(Vec::new()))
            }
        }
    }

    /// SASLResponse.
    pub fn respond(&mut self, data: &[u8]) -> Result<ServerStep, ScramViolation> {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Chosen { bound } => self.first(bound, data),
            State::SaltSent(first) => self.last(&first, data).map(ServerStep::Verdict),
            State::Offered | State::Finished => Err(ScramViolation::InvalidMechanism),
        }
    }

    /// client-first-message -> server-first-message (`read_client_first_message`).
    fn first(&mut self, bound: bool, data: &[u8]) -> Result<ServerStep, ScramViolation> {
        let mut text = Attributes::new(data)?;
        let binding_flag = text.peek();
        self.read_binding_flag(bound, &mut text)?;
        if text.peek() == b'a' {
            return Err(ScramViolation::AuthorizationIdentity);
        }
        if text.peek() != b',' {
            let found = sanitize_char(text.peek());
            return Err(malformed(format!(
                "Unexpected attribute \"{found}\" in client-first-message."
            )));
        }
        text.advance();
        let client_first_bare = text.rest().to_vec();
        if text.peek() == b'm' {
            return Err(ScramViolation::MandatoryExtension);
        }
        // The user is the startup packet's; libpq sends an empty name here.
        text.value_of(b'n')?;
        let client_nonce = text.value_of(b'r')?;
        if !is_printable(client_nonce) {
            return Err(ScramViolation::UnprintableNonce);
        }
        while !text.is_at_end() {
            text.any()?;
        }

        let nonce = [client_nonce, self.server_nonce.as_bytes()].concat();
        let cost = format!(
            ",s={},i={}",
            STANDARD.encode(&self.secret.salt),
            self.secret.iterations
        );
        let server_first = [b"r=", nonce.as_slice(), cost.as_bytes()].concat();
        self.state = State::SaltSent(FirstMessages {
            binding_flag,
            client_first_bare,
            nonce,
            server_first: server_first.clone(),
        });
        Ok(ServerStep::Challenge(server_first))
    }

    /// gs2-cbind-flag and the comma behind it.
    fn read_binding_flag(&self, bound: bool, text: &mut Attributes<'_>) -> Result<(), ScramViolation> {
        match text.peek() {
            b'n' | b'y' if bound => Err(malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data."
                    .to_owned(),
            )),
            b'y' if self.server_end_point.is_some() => Err(ScramViolation::BindingNegotiation),
            b'n' | b'y' => {
                text.advance();
                text.comma()
            }
            b'p' if !bound => Err(malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data."
                    .to_owned(),
            )),
            b'p' => match text.value_of(b'p')? {
                BINDING_TYPE => Ok(()),
                other => Err(ScramViolation::UnsupportedBindingType(sanitize_str(other))),
            },
            other => {
                let found = sanitize_char(other);
                Err(malformed(format!("Unexpected channel-binding flag \"{found}\".")))
            }
        }
    }

    /// client-final-message -> server-final-message (`read_client_final_message`, `verify_client_proof`).
    fn last(&self, first: &FirstMessages, data: &[u8]) -> Result<Verdict, ScramViolation> {
        let mut text = Attributes::new(data)?;
        let binding = text.value_of(b'c')?;
        self.check_binding(first.binding_flag, binding)?;
        let nonce = text.value_of(b'r')?;
        let (without_proof, proof) = loop {
            let before = text.before();
            if let (b'p', value) = text.any()? {
                break (before, value);
            }
        };
        let Some(proof) = decode_key(proof) else {
            return Err(malformed("Malformed proof in client-final-message.".to_owned()));
        };
        if !text.is_at_end() {
            return Err(malformed(
                "Garbage found at the end of client-final-message.".to_owned(),
            ));
        }
        if !bool::from(nonce.ct_eq(&first.nonce)) {
            return Err(ScramViolation::NonceMismatch);
        }
        Ok(self.verdict(first, without_proof, &proof))
    }

    fn check_binding(&self, flag: u8, sent: &[u8]) -> Result<(), ScramViolation> {
        match (flag, &self.server_end_point) {
            (b'p', Some(hash)) => {
                let expected = STANDARD.encode([BOUND_GS2_HEADER, hash].concat());
                if sent == expected.as_bytes() {
                    Ok(())
                } else {
                    Err(ScramViolation::BindingCheckFailed)
                }
            }
            // Base64 of "n,," and "y,,".
            (b'n', _) if sent == b"biws" => Ok(()),
            (b'y', _) if sent == b"eSws" => Ok(()),
            _ => Err(ScramViolation::UnexpectedBindingAttribute),
        }
    }

    /// The proof is computed for a doomed exchange too: time must not tell which users exist.
    fn verdict(&self, first: &FirstMessages, without_proof: &[u8], proof: &Key) -> Verdict {
        let auth_message = [
            first.client_first_bare.as_slice(),
            &first.server_first,
            without_proof,
        ]
        .join(&b","[..]);
        match self.secret.open(proof, &auth_message) {
            Some(client_key) if !self.doomed => {
                let signature = sign(&self.secret.server_key, &auth_message);
                Verdict::Authenticated {
                    server_final: format!("v={}", STANDARD.encode(signature)).into_bytes(),
                    keys: ScramKeys {
                        client_key,
                        server_key: self.secret.server_key,
                    },
                }
            }
            Some(_) | None => Verdict::Refused,
        }
    }
}
