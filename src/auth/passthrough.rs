//! Mode `passthrough`: client and server authenticate each other, the proxy carries their messages.
//!
//! Two things cannot be carried. SCRAM-SHA-256-PLUS is bound to the server's certificate, so it is taken
//! out of the offer. A client that speaks TLS to the proxy then says `y`, "I could, but you did not
//! offer": the defence against exactly what we did, and the server, which did offer, would refuse with a
//! message that says nothing of a proxy. That is found out before it is sent, and the error says what to do.

use super::error::AuthError;
use super::login::Step;
use super::message::{
    AuthenticationRequest, Frame, Mechanisms, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, SaslInitialResponse,
    authentication_sasl,
};
use crate::wire::backend::tag::{AUTHENTICATION, ERROR_RESPONSE};
use crate::wire::frontend::tag::PASSWORD;

/// Watches a login pass by.
#[derive(Debug, Default)]
pub struct Passthrough {
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The server speaks next.
    #[default]
    Server,
    /// The client owes an answer.
    Client,
    /// The client owes a SASLInitialResponse, to an offer that the proxy cut.
    ClientAfterCutOffer,
}

impl Passthrough {
    /// Whether the next message may be the client's. What it sends earlier is not part of the login.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        self.phase != Phase::Server
    }

    /// A message of the server. Those that are no authentication requests pass, whatever they are.
    ///
    /// # Errors
    /// When nothing is left of the offer.
    pub fn on_server(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        match frame.tag {
            AUTHENTICATION => self.on_request(frame),
            ERROR_RESPONSE => Ok(Step::ended(frame.to_bytes())),
            _ => Ok(Step::to_client(frame.to_bytes())),
        }
    }

    fn on_request(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        let request = AuthenticationRequest::decode(frame.body)?;
        self.phase = if request.awaits_answer() {
            Phase::Client
        } else {
            Phase::Server
        };
        match request {
            AuthenticationRequest::Ok => Ok(Step::logged_in(frame.to_bytes())),
            AuthenticationRequest::Sasl(mechanisms) if mechanisms.offers(SCRAM_SHA_256_PLUS) => {
                self.phase = Phase::ClientAfterCutOffer;
                cut_offer(mechanisms).map(Step::to_client)
            }
            _ => Ok(Step::to_client(frame.to_bytes())),
        }
    }

    /// A message of the client.
    ///
    /// # Errors
    /// When the server could only refuse it.
    pub fn on_client(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        if self.phase == Phase::ClientAfterCutOffer && frame.tag == PASSWORD && misses_the_cut(frame.body) {
            return Err(AuthError::ChannelBindingThroughProxy);
        }
        self.phase = Phase::Server;
        Ok(Step::to_server(frame.to_bytes()))
    }
}

fn cut_offer(mechanisms: Mechanisms<'_>) -> Result<Vec<u8>, AuthError> {
    let mut rest = mechanisms
        .names()
        .filter(|name| *name != SCRAM_SHA_256_PLUS)
        .peekable();
    if rest.peek().is_none() {
        return Err(AuthError::OnlyChannelBindingOffered);
    }
    Ok(authentication_sasl(rest))
}

/// A malformed message is the server's to judge.
fn misses_the_cut(body: &[u8]) -> bool {
    SaslInitialResponse::decode(body).is_ok_and(|response| {
        response.mechanism == SCRAM_SHA_256 && response.data.is_some_and(|data| data.starts_with(b"y"))
    })
}
