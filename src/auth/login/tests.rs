//! Whole logins without a socket: a server is played by its messages, a client by its answers.

use std::sync::Arc;

use super::{Entropy, Login, LoginSettings, Mode, Progress, Step};
use crate::auth::client_leg::ClientChannel;
use crate::auth::error::AuthError;
use crate::auth::message::{
    AuthenticationRequest, Frame, SaslInitialResponse, authentication_cleartext, authentication_sasl,
    authentication_sasl_continue, authentication_sasl_final, password, sasl_response,
};
use crate::auth::scram::{
    Binding, ClientExchange, ClientSecret, ScramSecret, ServerExchange, ServerStep, Verdict,
};
use crate::auth::secret::Secret;
use crate::auth::upstream_leg::{ChannelBindingPolicy, UpstreamChannel};
use crate::auth::users::{MockNonce, Users};

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05\x2a\x3d\x8f\xe0";
const GSS: &[u8] = b"R\0\0\0\x08\0\0\0\x07";
const REFUSED: &[u8] = b"E\0\0\0\x17SFATAL\0C28P01\0Mno\0\0";
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
const PLAIN: &[u8] = b"SCRAM-SHA-256";

fn tls() -> ClientChannel {
    ClientChannel::Tls {
        server_end_point: Some(b"ours".to_vec()),
    }
}

fn settings(mode: Mode, client: ClientChannel) -> LoginSettings {
    let users = Users::parse(b"\"alice\" \"pencil\"", MockNonce::new([0; 32])).unwrap();
    LoginSettings {
        mode,
        user: b"alice".to_vec(),
        client,
        upstream: UpstreamChannel::default(),
        users: Some(Arc::new(users)),
        max_scram_iterations: 10_000,
    }
}

fn login(mode: Mode, client: ClientChannel) -> Login {
    Login::new(
        settings(mode, client),
        Entropy {
            client: [1; 18],
            upstream: [2; 18],
        },
    )
}

/// A whole message as a frame.
fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        tag: bytes[0],
        body: &bytes[5..],
    }
}

fn offer(mechanisms: &[&[u8]]) -> Vec<u8> {
    authentication_sasl(mechanisms.iter().copied())
}

fn to_client(bytes: &[u8]) -> Step {
    Step {
        to_client: bytes.to_vec(),
        ..Step::default()
    }
}

fn to_server(bytes: &[u8]) -> Step {
    Step {
        to_server: bytes.to_vec(),
        ..Step::default()
    }
}

fn logged_in(bytes: &[u8]) -> Step {
    Step {
        to_client: bytes.to_vec(),
        to_server: Vec::new(),
        progress: Progress::LoggedIn,
    }
}

/// The client's side of a SCRAM login against the proxy, up to and with its last message.
fn client_scram(login: &mut Login, password: &str, binding: Binding) -> Result<Step, AuthError> {
    let secret = ClientSecret::Password(Secret::new(password.as_bytes()));
    let mut client = ClientExchange::new(b"alice", secret, binding, 10_000, [3; 18]);
    let first = SaslInitialResponse::encode(client.mechanism(), &client.first());
    let step = login.on_client(frame(&first))?;
    let challenge = step.to_client;
    let AuthenticationRequest::SaslContinue(data) = AuthenticationRequest::decode(&challenge[5..])? else {
        panic!("no challenge: {}", challenge.escape_ascii());
    };
    login.on_client(frame(&sasl_response(&client.respond(data)?)))
}

#[test]
fn passthrough_relays_byte_for_byte_in_both_directions() {
    let mut login = login(Mode::Passthrough, ClientChannel::Plain);
    assert!(!login.awaits_client());
    for request in [
        MD5,
        GSS,
        &authentication_cleartext(),
        &offer(&[PLAIN]),
        &offer(&[b"OAUTHBEARER"]),
    ] {
        assert_eq!(login.on_server(frame(request)).unwrap(), to_client(request));
        assert!(login.awaits_client());
        let answer = password(b"whatever");
        assert_eq!(login.on_client(frame(&answer)).unwrap(), to_server(&answer));
        assert!(!login.awaits_client());
    }
    assert_eq!(login.on_server(frame(OK)).unwrap(), logged_in(OK));
}

#[test]
fn passthrough_waits_for_the_server_after_its_last_sasl_message() {
    let mut login = login(Mode::Passthrough, ClientChannel::Plain);
    let last = authentication_sasl_final(b"v=AAAA");
    assert_eq!(login.on_server(frame(&last)).unwrap(), to_client(&last));
    assert!(!login.awaits_client());
}

#[test]
fn passthrough_takes_scram_plus_out_of_the_offer() {
    let mut login = login(Mode::Passthrough, tls());
    let step = login.on_server(frame(&offer(&[PLUS, PLAIN, b"OTHER"]))).unwrap();
    assert_eq!(step, to_client(&offer(&[PLAIN, b"OTHER"])));
    let answer = SaslInitialResponse::encode(PLAIN, b"n,,n=,r=x");
    assert_eq!(login.on_client(frame(&answer)).unwrap(), to_server(&answer));
}

#[test]
fn passthrough_stops_a_client_that_the_server_would_refuse_and_names_the_remedies() {
    let mut login = login(Mode::Passthrough, tls());
    login.on_server(frame(&offer(&[PLUS, PLAIN]))).unwrap();
    let error = login
        .on_client(frame(&SaslInitialResponse::encode(PLAIN, b"y,,n=,r=x")))
        .unwrap_err();
    assert_eq!(
        (error.sqlstate(), &error),
        ("28000", &AuthError::ChannelBindingThroughProxy)
    );
    for remedy in [
        "mode = \"scram\"",
        "\"password\"",
        "sslmode=disable",
        "channel_binding=disable",
    ] {
        assert!(error.hint().unwrap().contains(remedy), "{remedy}");
    }
}

#[test]
fn passthrough_lets_a_client_say_y_where_the_server_offered_no_binding() {
    let mut login = login(Mode::Passthrough, tls());
    login.on_server(frame(&offer(&[PLAIN]))).unwrap();
    let answer = SaslInitialResponse::encode(PLAIN, b"y,,n=,r=x");
    assert_eq!(login.on_client(frame(&answer)).unwrap(), to_server(&answer));
}

#[test]
fn passthrough_with_nothing_left_to_offer_says_so() {
    let error = login(Mode::Passthrough, tls())
        .on_server(frame(&offer(&[PLUS])))
        .unwrap_err();
    assert_eq!(error, AuthError::OnlyChannelBindingOffered);
    assert!(error.hint().is_some());
}

#[test]
fn an_error_of_the_server_passes_unchanged_and_ends_the_login_in_every_mode() {
    for mode in [Mode::Passthrough, Mode::Password, Mode::Scram] {
        let step = login(mode, tls()).on_server(frame(REFUSED)).unwrap();
        assert_eq!(
            (step.to_client.as_slice(), step.progress),
            (REFUSED, Progress::Ended),
            "{mode}"
        );
        let mut login = login(mode, tls());
        login.on_server(frame(MD5)).unwrap();
        let step = login.on_server(frame(REFUSED)).unwrap();
        assert_eq!(
            (step.to_client.as_slice(), step.progress),
            (REFUSED, Progress::Ended),
            "{mode}"
        );
    }
}

#[test]
fn protocol_negotiation_and_notices_pass_at_once() {
    for mode in [Mode::Passthrough, Mode::Password, Mode::Scram] {
        let mut login = login(mode, tls());
        for message in [&b"v\0\0\0\x0c\0\0\0\0\0\0\0\0"[..], b"N\0\0\0\x05\0"] {
            assert_eq!(login.on_server(frame(message)).unwrap(), to_client(message));
            assert!(!login.awaits_client());
        }
    }
}

#[test]
fn password_mode_asks_the_client_first_and_then_answers_the_server() {
    let mut login = login(Mode::Password, tls());
    assert_eq!(
        login.on_server(frame(MD5)).unwrap(),
        to_client(&authentication_cleartext())
    );
    assert!(login.awaits_client());
    let hash = postgres_protocol::authentication::md5_hash(b"alice", b"pencil", [0x2a, 0x3d, 0x8f, 0xe0]);
    let step = login.on_client(frame(&password(b"pencil"))).unwrap();
    assert_eq!(step, to_server(&password(hash.as_bytes())));
    assert_eq!(login.on_server(frame(OK)).unwrap(), logged_in(OK));
}

#[test]
fn password_mode_logs_in_with_scram_plus_where_the_server_offers_it() {
    for (hash, mechanisms) in [
        (Some(b"theirs".to_vec()), &[PLUS, PLAIN][..]),
        (None, &[PLAIN][..]),
    ] {
        let upstream = UpstreamChannel {
            server_end_point: hash.clone(),
            ..UpstreamChannel::default()
        };
        let settings = LoginSettings {
            upstream,
            ..settings(Mode::Password, tls())
        };
        let mut login = Login::new(
            settings,
            Entropy {
                client: [1; 18],
                upstream: [2; 18],
            },
        );
        login.on_server(frame(&offer(mechanisms))).unwrap();
        let step = login.on_client(frame(&password(b"pencil"))).unwrap();

        let secret = ScramSecret::from_password(b"pencil", vec![5; 16], 4096.try_into().unwrap());
        let mut server = ServerExchange::new(secret, false, hash, [4; 18]);
        let first = SaslInitialResponse::decode(&step.to_server[5..]).unwrap();
        assert_eq!(first.mechanism, mechanisms[0]);
        let Ok(ServerStep::Challenge(data)) = server.choose(first.mechanism, first.data) else {
            panic!()
        };
        let challenge = authentication_sasl_continue(&data);
        assert!(login.is_expensive(frame(&challenge)) && !login.is_expensive(frame(OK)));
        let step = login.on_server(frame(&challenge)).unwrap();
        let Ok(ServerStep::Verdict(Verdict::Authenticated { server_final, .. })) =
            server.respond(&step.to_server[5..])
        else {
            panic!("refused");
        };
        let step = login
            .on_server(frame(&authentication_sasl_final(&server_final)))
            .unwrap();
        assert_eq!(step, Step::default());
        assert_eq!(login.on_server(frame(OK)).unwrap(), logged_in(OK));
    }
}

#[test]
fn password_mode_never_asks_in_the_clear() {
    let error = login(Mode::Password, ClientChannel::Plain)
        .on_server(frame(MD5))
        .unwrap_err();
    assert_eq!(
        (error.sqlstate(), &error),
        ("28000", &AuthError::PasswordNeedsTls)
    );
    assert!(
        login(Mode::Password, ClientChannel::UnixSocket)
            .on_server(frame(MD5))
            .is_ok()
    );
}

#[test]
fn password_mode_asks_nothing_where_the_server_asks_nothing() {
    let mut login = login(Mode::Password, ClientChannel::Plain);
    assert_eq!(login.on_server(frame(OK)).unwrap(), logged_in(OK));
}

#[test]
fn scram_mode_checks_the_client_even_where_the_server_trusts_it() {
    let mut login = login(Mode::Scram, ClientChannel::Plain);
    assert!(login.awaits_server());
    assert_eq!(login.on_server(frame(OK)).unwrap(), to_client(&offer(&[PLAIN])));
    // What the server says next belongs to the session.
    assert!(login.awaits_client() && !login.awaits_server());
    let step = client_scram(&mut login, "pencil", Binding::Unsupported).unwrap();
    assert!(
        step.to_client.starts_with(b"R\0\0\0\x36\0\0\0\x0cv="),
        "{}",
        step.to_client.escape_ascii()
    );
    assert!(step.to_client.ends_with(OK));
    assert_eq!(step.progress, Progress::LoggedIn);
}

#[test]
fn scram_mode_offers_channel_binding_over_tls_and_then_answers_the_server() {
    let mut login = login(Mode::Scram, tls());
    assert_eq!(
        login.on_server(frame(MD5)).unwrap(),
        to_client(&offer(&[PLUS, PLAIN]))
    );
    let step = client_scram(&mut login, "pencil", Binding::ServerEndPoint(b"ours".to_vec())).unwrap();
    assert!(step.to_client.starts_with(b"R\0\0\0\x36\0\0\0\x0cv="));
    let hash = postgres_protocol::authentication::md5_hash(b"alice", b"pencil", [0x2a, 0x3d, 0x8f, 0xe0]);
    assert_eq!(step.to_server, password(hash.as_bytes()));
}

#[test]
fn scram_mode_tells_a_wrong_password_from_an_unknown_user_only_in_the_log() {
    let mut known = login(Mode::Scram, ClientChannel::Plain);
    known.on_server(frame(OK)).unwrap();
    let wrong = client_scram(&mut known, "pen", Binding::Unsupported).unwrap_err();
    let mut unknown = login(Mode::Scram, ClientChannel::Plain);
    unknown.settings.users = Some(Arc::new(Users::parse(b"", MockNonce::new([0; 32])).unwrap()));
    unknown.on_server(frame(OK)).unwrap();
    let nobody = client_scram(&mut unknown, "pencil", Binding::Unsupported).unwrap_err();
    for error in [&wrong, &nobody] {
        assert_eq!(
            error.to_string(),
            "password authentication failed for user \"alice\""
        );
        assert_eq!(
            (error.sqlstate(), error.detail(), error.hint()),
            ("28P01", None, None)
        );
    }
    assert_eq!(wrong.log_detail(), None);
    assert_eq!(
        nobody.log_detail(),
        Some("user \"alice\" is not in the users file")
    );
}

#[test]
fn a_client_that_answers_with_something_else_is_told_as_the_server_tells() {
    let mut login = login(Mode::Scram, tls());
    login.on_server(frame(OK)).unwrap();
    let error = login
        .on_client(Frame {
            tag: b'Q',
            body: b"select 1\0",
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "expected SASL response, got message type 81");
}

#[test]
fn a_method_that_only_the_client_can_answer_names_the_mode_that_relays_it() {
    for request in [GSS, &offer(&[b"OAUTHBEARER"]), b"R\0\0\0\x08\0\0\0\x63"] {
        let mut login = login(Mode::Password, tls());
        login.on_server(frame(request)).unwrap();
        let error = login.on_client(frame(&password(b"pencil"))).unwrap_err();
        assert!(matches!(error, AuthError::UnsupportedByMode { .. }), "{error}");
        assert!(error.hint().unwrap().contains("passthrough"));
    }
}

#[test]
fn a_server_cannot_skip_its_own_proof() {
    let mut login = login(Mode::Password, tls());
    login.on_server(frame(&offer(&[PLAIN]))).unwrap();
    login.on_client(frame(&password(b"pencil"))).unwrap();
    assert_eq!(
        login.on_server(frame(OK)).unwrap_err(),
        AuthError::UnfinishedScram
    );
}

#[test]
fn required_channel_binding_accepts_nothing_less() {
    let required = ChannelBindingPolicy::Require;
    for (request, hash) in [
        (OK.to_vec(), Some(b"theirs".to_vec())),
        (MD5.to_vec(), Some(b"theirs".to_vec())),
        (offer(&[PLAIN]), Some(b"theirs".to_vec())),
        (offer(&[PLUS, PLAIN]), None),
    ] {
        let upstream = UpstreamChannel {
            server_end_point: hash,
            channel_binding: required,
        };
        let settings = LoginSettings {
            upstream,
            ..settings(Mode::Scram, ClientChannel::Plain)
        };
        let mut login = Login::new(
            settings,
            Entropy {
                client: [1; 18],
                upstream: [2; 18],
            },
        );
        login.on_server(frame(&request)).unwrap();
        let error = client_scram(&mut login, "pencil", Binding::Unsupported).unwrap_err();
        assert_eq!(
            error,
            AuthError::ChannelBindingRequired,
            "{}",
            request.escape_ascii()
        );
    }
}

#[test]
fn required_channel_binding_is_not_waived_where_nobody_would_look() {
    for (mode, request) in [
        (Mode::Password, OK.to_vec()),
        (Mode::Passthrough, OK.to_vec()),
        (Mode::Passthrough, offer(&[PLUS, PLAIN])),
    ] {
        let upstream = UpstreamChannel {
            server_end_point: Some(b"theirs".to_vec()),
            channel_binding: ChannelBindingPolicy::Require,
        };
        let settings = LoginSettings {
            upstream,
            ..settings(mode, tls())
        };
        let mut login = Login::new(
            settings,
            Entropy {
                client: [1; 18],
                upstream: [2; 18],
            },
        );
        let error = login.on_server(frame(&request)).unwrap_err();
        assert_eq!(error, AuthError::ChannelBindingRequired, "{mode}");
    }
}

#[test]
fn a_secret_without_password_cannot_answer_a_server_that_wants_the_password() {
    let made = postgres_protocol::password::scram_sha_256(b"pencil");
    let users = Users::parse(
        format!("\"alice\" \"{made}\"").as_bytes(),
        MockNonce::new([0; 32]),
    )
    .unwrap();
    let mut login = login(Mode::Scram, ClientChannel::Plain);
    login.settings.users = Some(Arc::new(users));
    login.on_server(frame(MD5)).unwrap();
    let error = client_scram(&mut login, "pencil", Binding::Unsupported).unwrap_err();
    assert!(matches!(error, AuthError::SecretCannotAnswer { .. }), "{error}");
}
