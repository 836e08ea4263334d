//! The server as the referee: what is said to it directly and through a proxy must have the same answer.

use bemi::demo::cluster::Cluster;

use super::conversation::{Conversation, Transcript, query};
use super::panics;
use super::proxy::{self, RunningProxy, background};

/// How a client behaves once it has said its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for the other side to end the connection.
    Waits,
    /// It shuts its own side down first.
    FallsSilent,
}

/// A server, a proxy in front of it, and a watch over both.
pub struct Stage {
    pub cluster: &'static Cluster,
    pub proxy: RunningProxy,
    _watch: panics::Watch,
}

/// Starts a proxy in front of the tests' server.
pub fn stage() -> Stage {
    let watch = panics::watch();
    let cluster = super::cluster();
    Stage {
        cluster,
        proxy: background().block_on(proxy::start(cluster)),
        _watch: watch,
    }
}

impl Stage {
    /// Holds the same conversation twice, after a login and with a context in force, and returns the one with the
    /// server.
    pub fn agrees(&self, what: &str, said: &[u8], then: Then) -> Transcript {
        let hold = |port| {
            let mut conversation = Conversation::log_in(port, "postgres");
            conversation.say(&query("SET bemi.context = '{\"a\": 1}'"));
            conversation.read_until(b'Z');
            conversation.say(said);
            if then == Then::FallsSilent {
                conversation.fall_silent();
            }
            conversation.read_to_end()
        };
        let expected = hold(self.cluster.port());
        assert_eq!(hold(self.proxy.port()), expected, "{what}");
        assert!(expected.is_closed, "{what}: the server fell silent");
        expected
    }

    /// The same from the first byte on, without a login.
    pub fn agrees_from_the_start(&self, what: &str, said: &[u8], then: Then) -> Transcript {
        let hold = |port| {
            let mut conversation = Conversation::open(port);
            conversation.say(said);
            if then == Then::FallsSilent {
                conversation.fall_silent();
            }
            conversation.read_to_end()
        };
        let expected = hold(self.cluster.port());
        assert_eq!(hold(self.proxy.port()), expected, "{what}");
        assert!(expected.is_closed, "{what}: the server fell silent");
        expected
    }
}
