//! Clients that break the rules: the proxy's words are the server's words.
//!
//! The same bytes go to the server and to the proxy that plays a server; severity, SQLSTATE, message and detail of
//! the ErrorResponse are compared.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bemi::config::AuthMode;
use bemi::wire::frame::write_frame;
use bemi::wire::response::{field, field_of};
use bemi::wire::startup::{ssl_request, startup_packet};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::front::{Front, connector};
use crate::server::{TestServer, server};

/// Messages of the client, one after the other; `{nonce}` is what the server sent last.
#[derive(Debug, Clone)]
enum Sent {
    /// SASLInitialResponse with a proper length.
    Initial(&'static str, &'static [u8]),
    /// SASLResponse or PasswordMessage, the body as it is.
    Body(&'static [u8]),
    /// SASLResponse.
    Text(String),
    /// Another message.
    Other(u8, &'static [u8]),
}

use Sent::{Body, Initial, Other, Text};

const PROTOCOL_3_0: i32 = 3 << 16;
const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Without TLS nothing that follows the choice of SCRAM-SHA-256-PLUS is looked at.
fn mechanisms(tls: bool) -> &'static [&'static str] {
    if tls { &[PLAIN, PLUS] } else { &[PLAIN] }
}

fn first_messages(tls: bool) -> Vec<Vec<Sent>> {
    let mut scripts: Vec<Vec<Sent>> = mechanisms(tls)
        .iter()
        .flat_map(|mechanism| FIRST_TEXTS.iter().map(move |text| vec![Initial(mechanism, text)]))
        .collect();
    scripts.extend(
        [
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-1",
            "",
            "scram-sha-256",
            "OAUTHBEARER",
        ]
        .map(|name| vec![Initial(name, b"n,,n=,r=a")]),
    );
    scripts.extend(RAW_BODIES.iter().map(|body| vec![Body(body)]));
    scripts.push(vec![Other(b'Q', b"select 1\0")]);
    scripts.push(vec![Other(b'X', b"")]);
    scripts
}

const FIRST_TEXTS: &[&[u8]] = &[
    b"",
    b",",
    b"n",
    b"n,",
    b"n,,",
    b"nn,,n=,r=a",
    b"x,,n=,r=a",
    b"\x80,,n=,r=a",
    b" n,,n=,r=a",
    b"n,x,n=,r=a",
    b"n,\xff,n=,r=a",
    b"n,a=me,n=,r=a",
    b"n,,m=x,n=,r=a",
    b"n,,x=,r=a",
    b"n,,n,r=a",
    b"n,,n",
    b"n,,n=",
    b"n,,n=me",
    b"n,,n=me,",
    b"n,,n=,x=a",
    b"n,,n=,r",
    b"n,,n=,r=\x01",
    b"n,,n=,r=\xc3\xa9",
    b"n,,n=,r=a b",
    b"n,,n=,r=a,5=x",
    b"n,,n=,r=a,b",
    b"n,,n=,r=a,b=c,,",
    b"n,,n=,r=a\0",
    b"\0",
    b"y",
    b"y,,n=,r=a",
    b"yy,n=,r=a",
    b"p",
    b"p=",
    b"p,,n=,r=a",
    b"p=tls-unique,,n=,r=a",
    b"p=\xff\x01 a name of more than thirty characters,,n=,r=a",
    b"p=tls-server-end-point",
    b"p=tls-server-end-point,",
    b"p=tls-server-end-point,,n=",
    b"p=tls-server-end-point,a=b,n=,r=a",
];

/// SASLInitialResponses that do not hold together.
const RAW_BODIES: &[&[u8]] = &[
    b"",
    b"SCRAM-SHA-256",
    b"SCRAM-SHA-256\0",
    b"SCRAM-SHA-256\0\0\0\0",
    b"SCRAM-SHA-256\0\0\0\0\x01",
    b"SCRAM-SHA-256\0\0\0\0\x01nn",
    b"SCRAM-SHA-256\0\xff\xff\xff\xffn,,n=,r=a",
    b"SCRAM-SHA-256\0\xff\xff\xff\xfe",
    b"SCRAM-SHA-256\0\x7f\xff\xff\xffn",
    b"x\0\0\0\0\0",
];

fn last_messages(tls: bool) -> Vec<Vec<Sent>> {
    let proof = STANDARD.encode([7; 32]);
    let short = STANDARD.encode([7; 31]);
    let long = "x".repeat(1025);
    let texts = [
        String::new(),
        "x".to_owned(),
        "c".to_owned(),
        "c=".to_owned(),
        "c=biws".to_owned(),
        "c=biws,".to_owned(),
        "c=biws,x=".to_owned(),
        "c=biws,r={nonce}".to_owned(),
        "c=biws,r={nonce},".to_owned(),
        "c=biws,r={nonce},p".to_owned(),
        "c=biws,r={nonce},p=".to_owned(),
        "c=biws,r={nonce},5=1".to_owned(),
        "c=biws,r={nonce},x=1".to_owned(),
        "c=biws,r={nonce},p=!!!!".to_owned(),
        format!("c=biws,r={{nonce}},p={short}"),
        format!("c=biws,r={{nonce}},p={proof},x=1"),
        format!("c=biws,r={{nonce}},p={proof}"),
        format!("c=biws,r={{nonce}},x=1,y=2,p={proof}"),
        format!("c=biws,r={{nonce}}x,p={proof}"),
        format!("c=biws,r=,p={proof}"),
        format!("c=biws,r=a,p={proof}"),
        format!("c=eSws,r={{nonce}},p={proof}"),
        format!("c=cD10bHMtdW5pcXVlLCw=,r={{nonce}},p={proof}"),
        format!("c=biws,r={{nonce}},p={proof}\0"),
        long,
    ];
    let firsts: [(&str, &[u8]); 3] = [
        (PLAIN, b"n,,n=,r=a"),
        (PLAIN, b"y,,n=,r=a"),
        (PLUS, b"p=tls-server-end-point,,n=,r=a"),
    ];
    let mut scripts = Vec::new();
    for (mechanism, first) in firsts {
        if !mechanisms(tls).contains(&mechanism) {
            continue;
        }
        scripts.extend(
            texts
                .iter()
                .map(|text| vec![Initial(mechanism, first), Text(text.clone())]),
        );
        scripts.push(vec![Initial(mechanism, first), Other(b'Q', b"select 1\0")]);
    }
    // No initial response at all, and then one.
    let absent = Body(b"SCRAM-SHA-256\0\xff\xff\xff\xff");
    scripts.push(vec![absent.clone(), Text("n,,n=".to_owned())]);
    scripts.push(vec![
        absent,
        Text("n,,n=,r=a".to_owned()),
        Text(format!("c=biws,r={{nonce}},p={proof}")),
    ]);
    scripts
}

fn password_messages() -> Vec<Vec<Sent>> {
    vec![
        vec![Body(b"")],
        vec![Body(b"\0")],
        vec![Body(b"pencil")],
        vec![Body(b"pen\0cil\0")],
        vec![Body(b"wrong\0")],
        vec![Body(b"\xff\xfe\0")],
        vec![Other(b'Q', b"select 1\0")],
        vec![Other(b'X', b"")],
    ]
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Plays `script` and tells how it ended.
async fn play(server: &TestServer, port: u16, tls: bool, user: &str, script: &[Sent]) -> io::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if tls {
        stream.write_all(&ssl_request()).await?;
        assert_eq!(stream.read_u8().await?, b'S');
        let name = ServerName::try_from("127.0.0.1").unwrap();
        stream = Box::new(connector(&server.certificates).connect(name, stream).await?);
    }
    let parameters: [(&[u8], &[u8]); 2] = [(b"user", user.as_bytes()), (b"database", b"postgres")];
    let packet = startup_packet(PROTOCOL_3_0, parameters);
    stream.write_all(&packet).await?;
    let mut nonce = String::new();
    for message in script {
        if let Some(end) = read_request(&mut stream, &mut nonce).await? {
            return Ok(end);
        }
        stream.write_all(&encode(message, &nonce)).await?;
    }
    Ok(match read_request(&mut stream, &mut nonce).await? {
        Some(end) => end,
        None => "asks for more".to_owned(),
    })
}

/// The next message of the server: how it ended the login, or nothing when it asks for something.
async fn read_request(stream: &mut Box<dyn Stream>, nonce: &mut String) -> io::Result<Option<String>> {
    let mut header = [0; 5];
    if let Err(error) = stream.read_exact(&mut header).await {
        return Ok(Some(format!("closed: {:?}", error.kind())));
    }
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    match (header[0], body.first_chunk::<4>()) {
        (b'R', Some([0, 0, 0, 0])) => Ok(Some("logged in".to_owned())),
        (b'R', Some([0, 0, 0, 11])) => {
            let text = String::from_utf8(body[4..].to_vec()).unwrap();
            if let Some(rest) = text.strip_prefix("r=") {
                *nonce = rest.split(',').next().unwrap().to_owned();
            }
            Ok(None)
        }
        (b'R', _) => Ok(None),
        (b'E', _) => {
            let show = |code| match field_of(&body, code).unwrap() {
                Some(text) => text.escape_ascii().to_string(),
                None => String::new(),
            };
            let fields = [
                field::SEVERITY,
                field::SEVERITY_UNTRANSLATED,
                field::SQLSTATE,
                field::MESSAGE,
                field::DETAIL,
                field::HINT,
            ];
            Ok(Some(fields.map(show).join(" | ")))
        }
        (tag, _) => panic!("a message of type {tag}"),
    }
}

fn encode(message: &Sent, nonce: &str) -> Vec<u8> {
    let (tag, body) = match message {
        Initial(mechanism, data) => {
            let length = u32::try_from(data.len()).unwrap().to_be_bytes();
            (b'p', [mechanism.as_bytes(), &[0], &length, data].concat())
        }
        Body(body) => (b'p', body.to_vec()),
        Text(text) => (b'p', text.replace("{nonce}", nonce).into_bytes()),
        Other(tag, body) => (*tag, body.to_vec()),
    };
    let mut bytes = Vec::new();
    write_frame(&mut bytes, tag, |out| out.extend_from_slice(&body));
    bytes
}

async fn compare(mode: AuthMode, tls: bool, user: &str, scripts: Vec<Vec<Sent>>) {
    let server = server().await;
    let front = Front::start(server, crate::options(mode, tls)).await;
    let mut differences = Vec::new();
    let mut told = std::collections::BTreeSet::new();
    for script in scripts {
        let theirs = play(server, server.port(), tls, user, &script).await.unwrap();
        let ours = play(server, front.port(), tls, user, &script).await.unwrap();
        if theirs != ours {
            differences.push(format!("{script:?}\nserver: {theirs}\nproxy:  {ours}"));
        }
        told.insert(theirs);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    // A comparison of nothing but "closed" would prove nothing.
    assert!(
        told.iter().filter(|end| end.contains("FATAL")).count() > 3,
        "{told:#?}"
    );
}

#[tokio::test]
async fn broken_scram_messages_in_the_clear_are_refused_in_the_servers_words() {
    compare(
        AuthMode::Scram,
        false,
        "scram",
        [first_messages(false), last_messages(false)].concat(),
    )
    .await;
}

#[tokio::test]
async fn broken_scram_messages_over_tls_are_refused_in_the_servers_words() {
    compare(
        AuthMode::Scram,
        true,
        "scram",
        [first_messages(true), last_messages(true)].concat(),
    )
    .await;
}

#[tokio::test]
async fn broken_scram_messages_of_unknown_users_are_refused_in_the_servers_words() {
    compare(AuthMode::Scram, false, "nobody", last_messages(false)).await;
}

#[tokio::test]
async fn broken_password_messages_are_refused_in_the_servers_words() {
    compare(AuthMode::Password, true, "clear", password_messages()).await;
}
