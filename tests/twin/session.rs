//! What one client does on one connection, from its first byte to its last.

use std::fmt;

use super::message;

#[derive(Clone, Debug)]
pub struct Session {
    pub seed: u64,
    pub opening: Opening,
    pub acts: Vec<Act>,
    pub ending: Ending,
    /// How the client's bytes are cut.
    pub cuts: Cuts,
    /// Whether what goes between proxy and server is cut anew on its way.
    pub is_chopped: bool,
}

/// Everything up to the first ReadyForQuery, or to the refusal.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Requests for encryption, each answered with one byte.
    pub requests: Vec<i32>,
    pub version: i32,
    /// `{database}` in a value is the twin's.
    pub parameters: Vec<(String, String)>,
    /// Whether the client waits for ReadyForQuery before it goes on.
    pub waits: bool,
    pub labels: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub enum Act {
    Say(Said),
    /// Until what was asked is answered, as far as that can be known.
    Wait,
    /// Microseconds in which nothing is said.
    Pause(u64),
}

/// A message, well-formed or not.
#[derive(Clone, Debug)]
pub struct Said {
    pub bytes: Vec<u8>,
    /// What it exercises.
    pub labels: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Terminate.
    Polite,
    /// The client has nothing more to say, and listens on.
    FallsSilent,
    /// The same in the middle of a message.
    CutShort,
    /// The connection is reset in the middle of a message. Only where the server owes nothing: what becomes of
    /// statements whose replies meet a reset is the server's luck (`internal_flush` in pqcomm.c).
    Vanishes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Everything up to the next wait at once.
    None,
    /// Each message by itself.
    Messages,
    OneByteEach,
    /// In the middle of each message's length.
    InLengths,
    Anywhere,
}

impl Ending {
    pub fn label(self) -> &'static str {
        match self {
            Self::Polite => "ending: Terminate",
            Self::FallsSilent => "ending: half close",
            Self::CutShort => "ending: half close in a message",
            Self::Vanishes => "ending: reset in a message",
        }
    }
}

impl Cuts {
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "cuts: none",
            Self::Messages => "cuts: one message each",
            Self::OneByteEach => "cuts: one byte each",
            Self::InLengths => "cuts: in length words",
            Self::Anywhere => "cuts: anywhere",
        }
    }
}

impl Session {
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let said = self.acts.iter().flat_map(|act| match act {
            Act::Say(said) => said.labels.clone(),
            Act::Wait => vec!["act: waits for replies"],
            Act::Pause(_) => vec!["act: pauses"],
        });
        let chopped = if self.is_chopped {
            "cuts: between proxy and server"
        } else {
            "cuts: none between proxy and server"
        };
        let of_session = [self.ending.label(), self.cuts.label(), chopped];
        self.opening
            .labels
            .clone()
            .into_iter()
            .chain(of_session)
            .chain(said)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "session {}: {}", self.seed, self.cuts.label())?;
        if self.is_chopped {
            writeln!(f, "what goes between proxy and server is cut anew")?;
        }
        let opening = &self.opening;
        for request in &opening.requests {
            writeln!(f, "  request  {request}")?;
        }
        writeln!(
            f,
            "  startup  {}.{} {:?}",
            opening.version >> 16,
            opening.version & 0xffff,
            opening.parameters
        )?;
        if opening.waits {
            writeln!(f, "  -- wait")?;
        }
        for act in &self.acts {
            match act {
                Act::Say(said) => writeln!(f, "  {}", message::shown(&said.bytes))?,
                Act::Wait => writeln!(f, "  -- wait")?,
                Act::Pause(micros) => writeln!(f, "  -- pause of {micros} us")?,
            }
        }
        writeln!(f, "  -- {}", self.ending.label())
    }
}
