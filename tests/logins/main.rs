//! Logins through the proxy: what psql says is what it says of a direct connection.
//!
//! Every kind of user, password, leg and mode is tried against a real server; where the proxy must differ, the
//! test names how.

mod front;
mod refusals;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use bemi::auth::DEFAULT_MAX_SCRAM_ITERATIONS;
use bemi::config::AuthMode;
use front::{Front, FrontOptions};
use server::{Seen, server};
use tokio::sync::Semaphore;

/// psql processes at a time.
const AT_ONCE: usize = 4;

/// How a user is authenticated, and what the proxy's users file says of it.
struct Case {
    user: &'static str,
    password: &'static str,
    /// The method that the server uses in the end, which decides what mode `passthrough` has to deal with.
    asks: Asks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asks {
    Scram,
    Other,
    Nothing,
}

const CASES: &[Case] = &[
    Case {
        user: "scram",
        password: "pencil",
        asks: Asks::Scram,
    },
    Case {
        user: "md5",
        password: "pencil",
        asks: Asks::Other,
    },
    Case {
        user: "md5_with_scram_secret",
        password: "pencil",
        asks: Asks::Scram,
    },
    Case {
        user: "clear",
        password: "pencil",
        asks: Asks::Other,
    },
    Case {
        user: "clear_with_md5_hash",
        password: "pencil",
        asks: Asks::Other,
    },
    Case {
        user: "trusted",
        password: "pencil",
        asks: Asks::Nothing,
    },
    Case {
        user: "rejected",
        password: "pencil",
        asks: Asks::Nothing,
    },
    Case {
        user: "no_password",
        password: "pencil",
        asks: Asks::Scram,
    },
    Case {
        user: "expired",
        password: "pencil",
        asks: Asks::Scram,
    },
    Case {
        user: "no_login",
        password: "pencil",
        asks: Asks::Scram,
    },
    Case {
        user: "nobody",
        password: "pencil",
        asks: Asks::Scram,
    },
    // SASLprep: a no-break space is a space, a soft hyphen is nothing.
    Case {
        user: "unicode",
        password: "pen\u{a0}cil",
        asks: Asks::Scram,
    },
    // Nothing but a soft hyphen, and a control character: taken as they are.
    Case {
        user: "hyphen",
        password: "\u{ad}",
        asks: Asks::Scram,
    },
    Case {
        user: "bell",
        password: "pen\u{7}cil",
        asks: Asks::Scram,
    },
    Case {
        user: "Mixed \"Case\"",
        password: "p\"w;#\\ ",
        asks: Asks::Scram,
    },
];

/// `nobody` is in neither; `no_password` has one in the users file only.
fn users_file() -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    CASES
        .iter()
        .filter(|case| case.user != "nobody")
        .map(|case| format!("{} {}\n", quote(case.user), quote(case.password)))
        .collect()
}

#[derive(Clone, Copy, Debug)]
struct Legs {
    client_tls: bool,
    upstream_tls: bool,
}

/// What psql must say, given what it says of a direct connection.
fn expected(mode: AuthMode, legs: Legs, case: &Case, password: Option<&str>, direct: &Seen) -> Expected {
    let asked = case.asks != Asks::Nothing;
    match mode {
        AuthMode::Passthrough
            if legs.client_tls && legs.upstream_tls && case.asks == Asks::Scram && password.is_some() =>
        {
            Expected::Error(
                "FATAL:  SCRAM channel binding cannot pass through the proxy, which ends TLS here",
            )
        }
        AuthMode::Password if asked && !legs.client_tls => {
            Expected::Error("FATAL:  the proxy asks for passwords only over TLS")
        }
        AuthMode::Scram if case.user == "trusted" && password.is_none() => {
            Expected::Error("fe_sendauth: no password supplied")
        }
        AuthMode::Scram if case.user == "trusted" && password != Some(case.password) => {
            Expected::Error("FATAL:  password authentication failed for user \"trusted\"")
        }
        AuthMode::Passthrough | AuthMode::Password | AuthMode::Scram => Expected::AsDirect(direct.clone()),
    }
}

enum Expected {
    AsDirect(Seen),
    Error(&'static str),
}

impl Expected {
    fn complaint(&self, seen: &Seen) -> Option<String> {
        match self {
            Self::AsDirect(direct) if direct == seen => None,
            Self::AsDirect(direct) => Some(format!("direct: {direct:#?}\nproxy: {seen:#?}")),
            Self::Error(text) if !seen.success && seen.stderr.contains(text) => None,
            Self::Error(text) => Some(format!("expected: {text}\nproxy: {seen:#?}")),
        }
    }
}

/// One mode over the four combinations of legs; every user with the right, a wrong and no password.
async fn compare(mode: AuthMode) {
    let server = server().await;
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = tokio::task::JoinSet::new();
    for client_tls in [false, true] {
        for upstream_tls in [false, true] {
            let legs = Legs {
                client_tls,
                upstream_tls,
            };
            let front = Arc::new(Front::start(server, options(mode, upstream_tls)).await);
            for case in CASES {
                for password in [Some(case.password), Some("wrong"), None] {
                    let (slots, front) = (slots.clone(), front.clone());
                    runs.spawn(async move {
                        let _slot = slots.acquire_owned().await.unwrap();
                        let direct = server.direct(case.user, password, upstream_tls).await;
                        let seen = server.psql(front.port(), case.user, password, client_tls).await;
                        expected(mode, legs, case, password, &direct)
                            .complaint(&seen)
                            .map(|complaint| format!("{} {password:?} {legs:?}\n{complaint}", case.user))
                    });
                }
            }
        }
    }
    let complaints: BTreeSet<String> = runs.join_all().await.into_iter().flatten().collect();
    assert!(
        complaints.is_empty(),
        "{}",
        complaints.into_iter().collect::<Vec<_>>().join("\n\n")
    );
}

fn options(mode: AuthMode, upstream_tls: bool) -> FrontOptions {
    FrontOptions {
        mode,
        upstream_tls,
        channel_binding: "prefer",
        max_scram_iterations: DEFAULT_MAX_SCRAM_ITERATIONS,
        users: users_file(),
    }
}

#[tokio::test]
async fn in_passthrough_mode_psql_sees_what_the_server_says() {
    compare(AuthMode::Passthrough).await;
}

#[tokio::test]
async fn in_password_mode_psql_sees_what_the_server_says() {
    compare(AuthMode::Password).await;
}

#[tokio::test]
async fn in_scram_mode_psql_sees_what_the_server_says() {
    compare(AuthMode::Scram).await;
}

#[tokio::test]
async fn the_direct_logins_that_all_this_is_compared_with_are_of_every_kind() {
    let server = server().await;
    for (user, password, said) in [
        ("scram", Some("pencil"), "scram logged in"),
        ("md5", Some("pencil"), "md5 logged in"),
        ("clear", Some("pencil"), "clear logged in"),
        ("trusted", None, "trusted logged in"),
        ("unicode", Some("pen\u{ad} cil"), "unicode logged in"),
        (
            "scram",
            Some("wrong"),
            "password authentication failed for user \"scram\"",
        ),
        (
            "md5",
            Some("wrong"),
            "password authentication failed for user \"md5\"",
        ),
        (
            "expired",
            Some("pencil"),
            "password authentication failed for user \"expired\"",
        ),
        (
            "no_login",
            Some("pencil"),
            "role \"no_login\" is not permitted to log in",
        ),
        ("rejected", None, "pg_hba.conf rejects connection"),
        ("scram", None, "fe_sendauth: no password supplied"),
    ] {
        let seen = server.psql(server.port(), user, password, false).await;
        assert!(
            seen.stdout.contains(said) || seen.stderr.contains(said),
            "{user}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn channel_binding_works_on_both_legs_at_once() {
    let server = server().await;
    for mode in [AuthMode::Password, AuthMode::Scram] {
        let options = FrontOptions {
            channel_binding: "require",
            ..options(mode, true)
        };
        let front = Front::start(server, options).await;
        let port = front.port();
        // In mode password psql is asked for cleartext, where libpq refuses to do without channel binding.
        let client = if mode == AuthMode::Scram {
            "channel_binding=require"
        } else {
            "sslmode=require"
        };
        let seen = server
            .psql_with(port, "scram", Some("pencil"), true, client)
            .await;
        assert_eq!(seen.stdout, "scram logged in\n", "{mode:?}: {seen:?}");
        // No way around it: md5 is not bound to anything.
        let seen = server.psql_with(port, "md5", Some("pencil"), true, client).await;
        assert!(
            seen.stderr.contains("channel binding is required upstream"),
            "{mode:?}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_client_without_channel_binding_passes_through_two_tls_legs() {
    let server = server().await;
    let front = Front::start(server, options(AuthMode::Passthrough, true)).await;
    let port = front.port();
    let seen = server
        .psql_with(port, "scram", Some("pencil"), true, "channel_binding=disable")
        .await;
    assert_eq!(seen.stdout, "scram logged in\n", "{seen:?}");
    let seen = server.psql(port, "scram", Some("pencil"), true).await;
    assert!(
        seen.stderr.contains("HINT:") && seen.stderr.contains("[auth] mode = \"scram\""),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_secret_copied_from_pg_authid_logs_in_upstream() {
    let server = server().await;
    let secret = server.stored_secret("scram").await;
    for (client_tls, upstream_tls) in [(false, false), (true, true)] {
        let options = FrontOptions {
            users: format!("\"scram\" \"{secret}\"\n\"md5\" \"{secret}\"\n\"unicode\" \"{secret}\"\n"),
            ..options(AuthMode::Scram, upstream_tls)
        };
        let front = Front::start(server, options).await;
        let port = front.port();
        let seen = server.psql(port, "scram", Some("pencil"), client_tls).await;
        assert_eq!(seen.stdout, "scram logged in\n", "{seen:?}");
        let wrong = server.psql(port, "scram", Some("wrong"), client_tls).await;
        assert_eq!(
            wrong,
            server
                .psql(server.port(), "scram", Some("wrong"), upstream_tls)
                .await
        );
        for (user, said) in [
            (
                "md5",
                "the server asks for an MD5 hash of the password, but the users file holds only a SCRAM secret",
            ),
            (
                "unicode",
                "the SCRAM secret of user \"unicode\" in the users file is not the server's: the salts differ",
            ),
        ] {
            let seen = server.psql(port, user, Some("pencil"), client_tls).await;
            assert!(seen.stderr.contains(said), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_server_with_many_iterations_is_served_up_to_the_limit() {
    let server = server().await;
    for (max_scram_iterations, said) in [
        (200_000, "slow logged in"),
        (
            199_999,
            "the server asks for 200000 SCRAM iterations, the proxy does at most 199999",
        ),
    ] {
        let options = FrontOptions {
            max_scram_iterations,
            ..options(AuthMode::Password, false)
        };
        let front = Front::start(server, options).await;
        let port = front.port();
        let seen = server.psql(port, "slow", Some("pencil"), true).await;
        assert!(
            seen.stdout.contains(said) || seen.stderr.contains(said),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_unix_socket_is_as_private_as_tls() {
    let server = server().await;
    let front = Front::start(server, options(AuthMode::Password, false)).await;
    let host = format!("host={} port={}", front.socket_directory(), front::SOCKET_PORT);
    for (user, password) in [("scram", "pencil"), ("md5", "pencil"), ("clear", "pencil")] {
        let seen = server
            .psql_with(front.port(), user, Some(password), false, &host)
            .await;
        assert_eq!(seen.stdout, format!("{user} logged in\n"), "{seen:?}");
    }
}
