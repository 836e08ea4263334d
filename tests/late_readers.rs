//! Peers that read late. The last piece for them is all that the proxy still has, nobody says anything more, and they get it
//! once they read.
//!
//! How much lies between two sockets before one of them blocks is up to the kernel. So there are many messages at once, of
//! lengths around that: of some of them the last piece does not go through whole.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use bemi::config::{Config, ListenAddress};
use rustls::StreamOwned;
use support::conversation::{Conversation, PATIENCE, query, socket};
use support::proxy::{self, background};
use support::{panics, tls};

const KB: usize = 1 << 10;

/// For everybody to get stuck in.
const A_WHILE: Duration = Duration::from_secs(1);

/// Reads up to ReadyForQuery, and returns the values of the first column.
fn read_values<S: Read + Write>(conversation: &mut Conversation<S>) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    loop {
        match conversation.frame() {
            (b'Z', _) => return values,
            // The number of columns, and the first one's length, are ahead of it.
            (b'D', mut row) => values.push(row.split_off(6)),
            (b'E', error) => panic!("{}", error.escape_ascii()),
            _ => {}
        }
    }
}

/// Large pieces, which are cut more easily.
fn large_pieces(config: &mut Config) {
    config.limits.buffer_bytes = 1 << 20;
}

fn unix_socket(directory: &Path, port: u16) -> UnixStream {
    let stream = UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// Asks for a value of each length in a session of its own, reads nothing for a while, and then everything.
fn read_late<S: Read + Write>(lengths: impl Iterator<Item = usize>, connect: impl Fn() -> S) {
    let mut sessions: Vec<_> = lengths
        .map(|length| {
            let mut session = Conversation::log_in_on(connect(), "postgres");
            session.say(&query(&format!("SELECT repeat('x', {length})")));
            (length, session)
        })
        .collect();
    sleep(A_WHILE);
    for (length, session) in &mut sessions {
        let [value] = &read_values(session)[..] else {
            panic!("not one row");
        };
        assert_eq!(value.len(), *length);
    }
}

#[test]
fn a_client_that_reads_late_reads_everything() {
    let _watch = panics::watch();
    let directory = tempfile::tempdir().expect("a directory");
    let address = format!("unix:{}:5432", directory.path().display());
    let _proxy = background().block_on(proxy::start_with(support::cluster(), |config| {
        large_pieces(config);
        config
            .listen
            .push(address.parse::<ListenAddress>().expect("an address"));
    }));
    let lengths = (32 * KB..512 * KB).step_by(8 * KB);
    read_late(lengths, || unix_socket(directory.path(), 5432));
}

#[test]
fn a_client_that_reads_late_by_tls_reads_everything() {
    let _watch = panics::watch();
    let (proxy, authority) = tls::start_proxy(large_pieces);
    let lengths = (2_560 * KB..5_120 * KB).step_by(32 * KB);
    read_late(lengths, || {
        // TLS at once, without a request for it.
        StreamOwned::new(
            tls::client(&authority, &[b"postgresql"]),
            socket(proxy.address.port()),
        )
    });
}

#[test]
fn a_server_that_reads_late_reads_everything() {
    let _watch = panics::watch();
    let cluster = support::cluster();
    let url = format!(
        "postgresql:///?host={}&port={}",
        cluster.socket_dir().display(),
        cluster.port()
    );
    let proxy = background().block_on(proxy::start_in_front_of(&url, large_pieces));
    let mut sessions: Vec<_> = (32 * KB..512 * KB)
        .step_by(8 * KB)
        .map(|length| {
            let mut session = Conversation::log_in(proxy.address.port(), "postgres");
            // Meanwhile the server reads nothing.
            session.say(&query(&format!("SELECT pg_sleep({})", A_WHILE.as_secs())));
            session.say(&query(&format!("SELECT length('{}')", "x".repeat(length))));
            (length, session)
        })
        .collect();
    for (length, session) in &mut sessions {
        read_values(session);
        assert_eq!(read_values(session), [length.to_string().into_bytes()]);
    }
}
