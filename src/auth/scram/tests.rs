//! RFC 7677's example, both roles against each other and against a second implementation, and refusals.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::keys::decode_key;
use super::{
    Binding, ClientExchange, ClientSecret, ScramKeys, ScramSecret, ServerExchange, ServerStep, Verdict,
};
use crate::auth::error::{AuthError, ScramViolation};
use crate::auth::secret::Secret;

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const HASH: &[u8] = b"the hash of a certificate";

const CLIENT_FIRST_BARE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const WITHOUT_PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn secret(password: &str) -> ScramSecret {
    ScramSecret::from_password(password.as_bytes(), STANDARD.decode(SALT).unwrap(), ITERATIONS)
}

fn server(password: &str, binding: Option<&[u8]>) -> ServerExchange {
    ServerExchange::new(secret(password), false, binding.map(<[u8]>::to_vec), [1; 18])
}

fn client(password: &str, binding: Binding) -> ClientExchange {
    let secret = ClientSecret::Password(Secret::new(password.as_bytes()));
    ClientExchange::new(b"alice", secret, binding, 10_000, [2; 18])
}

fn challenge(step: ServerStep) -> Vec<u8> {
    match step {
        ServerStep::Challenge(challenge) => challenge,
        ServerStep::Verdict(verdict) => panic!("{verdict:?}"),
    }
}

fn verdict(step: ServerStep) -> Verdict {
    match step {
        ServerStep::Verdict(verdict) => verdict,
        ServerStep::Challenge(challenge) => panic!("{}", challenge.escape_ascii()),
    }
}

/// Runs both roles against each other; the keys the server worked out, if it was convinced.
fn meet(client: &mut ClientExchange, server: &mut ServerExchange) -> Result<Option<ScramKeys>, AuthError> {
    let first = challenge(server.choose(client.mechanism(), Some(&client.first()))?);
    let last = client.respond(&first)?;
    match verdict(server.respond(&last)?) {
        Verdict::Authenticated { server_final, keys } => {
            client.finish(&server_final)?;
            Ok(Some(keys))
        }
        Verdict::Refused => Ok(None),
    }
}

#[test]
fn the_example_of_rfc_7677_comes_out_of_the_server_role() {
    let mut server = server("pencil", None).with_server_nonce(SERVER_NONCE);
    let first = format!("n,,{CLIENT_FIRST_BARE}");
    let step = server.choose(b"SCRAM-SHA-256", Some(first.as_bytes())).unwrap();
    assert_eq!(challenge(step), SERVER_FIRST.as_bytes());
    let step = server
        .respond(format!("{WITHOUT_PROOF},p={PROOF}").as_bytes())
        .unwrap();
    match verdict(step) {
        Verdict::Authenticated { server_final, keys } => {
            assert_eq!(server_final, SERVER_FINAL.as_bytes());
            assert!(keys == ScramKeys::derive(b"pencil", &STANDARD.decode(SALT).unwrap(), ITERATIONS));
        }
        Verdict::Refused => panic!("refused"),
    }
}

#[test]
fn the_example_of_rfc_7677_has_our_proof() {
    let keys = ScramKeys::derive(b"pencil", &STANDARD.decode(SALT).unwrap(), ITERATIONS);
    let auth_message = format!("{CLIENT_FIRST_BARE},{SERVER_FIRST},{WITHOUT_PROOF}");
    assert_eq!(
        Some(keys.prove(auth_message.as_bytes())),
        decode_key(PROOF.as_bytes())
    );
}

#[test]
fn both_roles_agree_with_and_without_channel_binding() {
    for (binding, ours) in [
        (Binding::Unsupported, None),
        (Binding::NotOffered, None),
        (Binding::Unsupported, Some(HASH)),
        (Binding::ServerEndPoint(HASH.to_vec()), Some(HASH)),
    ] {
        let mut client = client("pencil", binding.clone());
        let keys = meet(&mut client, &mut server("pencil", ours)).unwrap();
        assert!(keys.is_some() && client.is_finished(), "{binding:?}");
    }
}

#[test]
fn a_wrong_password_is_refused_and_a_doomed_exchange_refuses_the_right_one() {
    assert!(
        meet(
            &mut client("pencil", Binding::Unsupported),
            &mut server("pen", None)
        )
        .unwrap()
        .is_none()
    );
    let mut doomed = ServerExchange::new(secret("pencil"), true, None, [1; 18]);
    assert!(
        meet(&mut client("pencil", Binding::Unsupported), &mut doomed)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_recovered_key_logs_in_where_the_secret_is_the_same() {
    let keys = meet(
        &mut client("pencil", Binding::Unsupported),
        &mut server("pencil", None),
    )
    .unwrap()
    .unwrap();
    let secret = ClientSecret::Keys {
        keys,
        secret: secret("pencil"),
    };
    let mut again = ClientExchange::new(b"alice", secret, Binding::Unsupported, 10_000, [3; 18]);
    assert!(meet(&mut again, &mut server("pencil", None)).unwrap().is_some());
}

#[test]
fn a_recovered_key_is_no_use_where_the_secret_differs_and_the_error_says_why() {
    let keys = ScramKeys::derive(b"pencil", &STANDARD.decode(SALT).unwrap(), ITERATIONS);
    let other_salt = vec![9; 16];
    for (salt, iterations, what) in [
        (other_salt.clone(), 4096, "the salts"),
        (STANDARD.decode(SALT).unwrap(), 5000, "the iteration counts"),
        (other_salt, 5000, "the salts and the iteration counts"),
    ] {
        let theirs = ScramSecret::from_password(b"pencil", salt, NonZeroU32::new(iterations).unwrap());
        let mut server = ServerExchange::new(theirs, false, None, [1; 18]);
        let ours = ClientSecret::Keys {
            keys: keys.clone(),
            secret: secret("pencil"),
        };
        let mut client = ClientExchange::new(b"alice", ours, Binding::Unsupported, 10_000, [3; 18]);
        match meet(&mut client, &mut server).unwrap_err() {
            AuthError::SecretDiffers { user, differs } => {
                assert_eq!((user.as_str(), differs), ("alice", what))
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn another_client_implementation_convinces_our_server_role() {
    for (mechanism, binding, ours) in [
        (&b"SCRAM-SHA-256"[..], ChannelBinding::unsupported(), None),
        (b"SCRAM-SHA-256", ChannelBinding::unrequested(), None),
        (
            b"SCRAM-SHA-256-PLUS",
            ChannelBinding::tls_server_end_point(HASH.to_vec()),
            Some(HASH),
        ),
    ] {
        // Normalised by both to "I X" (RFC 4013, soft hyphen and no-break space).
        let mut server = server("I\u{ad}\u{a0}X", ours);
        let mut client = ScramSha256::new("I X".as_bytes(), binding);
        let first = challenge(server.choose(mechanism, Some(client.message())).unwrap());
        client.update(&first).unwrap();
        match verdict(server.respond(client.message()).unwrap()) {
            Verdict::Authenticated { server_final, .. } => client.finish(&server_final).unwrap(),
            Verdict::Refused => panic!("refused"),
        }
    }
}

#[test]
fn an_absent_initial_response_is_answered_by_an_empty_challenge() {
    let (mut client, mut server) = (client("pencil", Binding::Unsupported), server("pencil", None));
    assert_eq!(challenge(server.choose(client.mechanism(), None).unwrap()), b"");
    assert!(!server.awaits_choice());
    let first = challenge(server.respond(&client.first()).unwrap());
    let last = client.respond(&first).unwrap();
    assert!(matches!(
        verdict(server.respond(&last).unwrap()),
        Verdict::Authenticated { .. }
    ));
}

#[test]
fn a_client_that_missed_the_offer_of_channel_binding_is_refused() {
    let error = meet(
        &mut client("pencil", Binding::NotOffered),
        &mut server("pencil", Some(HASH)),
    )
    .unwrap_err();
    assert_eq!(error, AuthError::Scram(ScramViolation::BindingNegotiation));
}

#[test]
fn a_client_that_saw_another_certificate_is_refused() {
    let mut client = client("pencil", Binding::ServerEndPoint(b"another hash".to_vec()));
    let error = meet(&mut client, &mut server("pencil", Some(HASH))).unwrap_err();
    assert_eq!(error, AuthError::Scram(ScramViolation::BindingCheckFailed));
    assert_eq!(error.sqlstate(), "28000");
}

#[test]
fn a_stolen_answer_does_not_fit_another_nonce() {
    let mut client = client("pencil", Binding::Unsupported);
    let first = challenge(
        server("pencil", None)
            .choose(client.mechanism(), Some(&client.first()))
            .unwrap(),
    );
    let last = client.respond(&first).unwrap();
    let mut other = ServerExchange::new(secret("pencil"), false, None, [99; 18]);
    other.choose(client.mechanism(), Some(&client.first())).unwrap();
    assert!(matches!(other.respond(&last), Err(ScramViolation::NonceMismatch)));
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let mut client = client("pencil", Binding::Unsupported);
    let first = challenge(
        server("pencil", None)
            .choose(client.mechanism(), Some(&client.first()))
            .unwrap(),
    );
    client.respond(&first).unwrap();
    let forged = format!("v={}", STANDARD.encode([0; 32]));
    assert!(matches!(
        client.finish(forged.as_bytes()),
        Err(AuthError::ServerSignature { .. })
    ));
    assert!(!client.is_finished());
}

#[test]
fn a_hostile_server_gets_an_error_and_neither_panic_nor_endless_work() {
    let nonce = STANDARD.encode([2; 18]);
    for first in [
        String::new(),
        "r=".to_owned(),
        format!("r={nonce}"),
        format!("r={nonce},s=AAAA,i=4096"),
        "r=other,s=AAAA,i=4096".to_owned(),
        format!("r={nonce}x,s=!,i=4096"),
        format!("r={nonce}x,s=AAAA,i=0"),
        format!("r={nonce}x,s=AAAA,i=-1"),
        format!("r={nonce}x,s=AAAA,i=99999999999"),
        format!("r={nonce}x,s=AAAA,i=4294967295"),
        format!("r={nonce}x,s=AAAA"),
    ] {
        let mut client = client("pencil", Binding::Unsupported);
        assert!(client.respond(first.as_bytes()).is_err(), "{first}");
    }
    let mut client = client("pencil", Binding::Unsupported);
    assert!(client.finish(b"v=AAAA").is_err());
    client
        .respond(format!("r={nonce}x,s=AAAA,i=1,later=1").as_bytes())
        .unwrap();
    for last in [&b""[..], b"v=", b"v=AAAA", b"e=invalid-proof", b"v=\xff"] {
        assert!(client.finish(last).is_err(), "{last:?}");
    }
}

#[test]
fn a_secret_survives_the_format_of_pg_authid() {
    let made = postgres_protocol::password::scram_sha_256(b"pencil");
    let read = ScramSecret::parse(made.as_bytes()).unwrap();
    assert!(read == ScramSecret::from_password(b"pencil", read.salt.clone(), read.iterations));
    for text in [
        "",
        "pencil",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    ] {
        assert!(ScramSecret::parse(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn passwords_that_saslprep_cannot_treat_are_taken_as_they_are() {
    let salt = vec![1; 16];
    // No UTF-8; a control character; nothing but a soft hyphen, of which nothing would be left.
    for password in [&b"\xff\xfe"[..], b"a\x07b", "\u{ad}".as_bytes()] {
        let ours = ScramSecret::from_password(password, salt.clone(), ITERATIONS);
        assert!(
            ours != ScramSecret::from_password(b"", salt.clone(), ITERATIONS),
            "{password:?}"
        );
        assert!(ours == ScramSecret::from_password(password, salt.clone(), ITERATIONS));
    }
}
