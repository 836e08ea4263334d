//! What `bemi::wire` reads and writes, `pgwire` reads and writes alike.

use bemi::wire::frame::{HEADER_LEN, Header};
use bemi::wire::frontend::{self, BindNames, Named, Parameter};
use bemi::wire::response::{self, Response, Severity, field};
use bemi::wire::{backend, startup};
use bytes::{Bytes, BytesMut};
use pgwire::messages::extendedquery::{Bind, Close, Execute, Parse};
use pgwire::messages::response::{CommandComplete, ErrorResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{ParameterStatus, Startup};
use pgwire::messages::{
    DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};

fn in_session() -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

/// Their bytes, and our reading of where the message ends.
fn body(message: &impl Message) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).expect("encoded");
    let header = Header::read(&bytes).expect("a length").expect("a header");
    assert_eq!(header.frame_len, bytes.len());
    bytes[HEADER_LEN..].to_vec()
}

fn decoded(bytes: &[u8]) -> PgWireFrontendMessage {
    let mut bytes = BytesMut::from(bytes);
    let message = PgWireFrontendMessage::decode(&mut bytes, &in_session())
        .expect("decoded")
        .expect("whole");
    assert!(bytes.is_empty(), "bytes left over");
    message
}

#[test]
fn what_they_write_we_read() {
    assert_eq!(
        frontend::query(&body(&Query::new("select 'é'".into()))),
        Ok("select 'é'".as_bytes())
    );
    let parse = body(&Parse::new(Some("s".into()), "select $1".into(), vec![25]));
    assert_eq!(
        frontend::Parse::read(&parse),
        Ok(frontend::Parse {
            statement: b"s",
            text: b"select $1"
        })
    );
    let values = vec![Some(Bytes::from_static(b"one")), None];
    let bind = body(&Bind::new(Some("p".into()), None, vec![0, 1], values, vec![]));
    assert_eq!(
        BindNames::peek(&bind),
        Some(BindNames {
            portal: b"p",
            statement: b""
        })
    );
    let one = Parameter {
        value: Some(&b"one"[..]),
        binary: false,
    };
    assert_eq!(frontend::bind_parameter(&bind, 1), Ok(Some(one)));
    assert_eq!(
        frontend::bind_parameter(&bind, 2),
        Ok(Some(Parameter {
            value: None,
            binary: true
        }))
    );
    assert_eq!(
        frontend::execute(&body(&Execute::new(Some("p".into()), 7))),
        Ok(&b"p"[..])
    );
    assert_eq!(
        frontend::named("Close", &body(&Close::new(b'P', Some("p".into())))),
        Ok(Named::Portal(b"p"))
    );
    let ready = body(&ReadyForQuery::new(TransactionStatus::Error));
    assert_eq!(
        backend::ready_for_query(&ready),
        Ok(backend::TransactionStatus::Failed)
    );
    assert_eq!(
        backend::command_complete(&body(&CommandComplete::new("INSERT 0 1".into()))),
        Ok(&b"INSERT 0 1"[..])
    );
    let status = body(&ParameterStatus::new("client_encoding".into(), "UTF8".into()));
    assert_eq!(
        backend::parameter_status(&status),
        Ok((&b"client_encoding"[..], &b"UTF8"[..]))
    );
    let error = body(&ErrorResponse::new(vec![
        (b'S', "ERROR".into()),
        (b'C', "42601".into()),
        (b'P', "7".into()),
    ]));
    assert_eq!(response::field_of(&error, field::POSITION), Ok(Some(&b"7"[..])));
}

#[test]
fn what_we_write_they_read() {
    let mut bytes = Vec::new();
    frontend::write_parse(&mut bytes, "_bemi", "select $1", &[25]);
    let PgWireFrontendMessage::Parse(parse) = decoded(&bytes) else {
        panic!("no Parse")
    };
    assert_eq!(
        (parse.name.as_deref(), parse.query.as_str(), parse.type_oids),
        (Some("_bemi"), "select $1", vec![25])
    );

    bytes.clear();
    frontend::write_bind(&mut bytes, "p", "s", &[b"value"]);
    let PgWireFrontendMessage::Bind(bind) = decoded(&bytes) else {
        panic!("no Bind")
    };
    assert_eq!(
        (bind.portal_name.as_deref(), bind.statement_name.as_deref()),
        (Some("p"), Some("s"))
    );
    assert_eq!(bind.parameters, [Some(Bytes::from_static(b"value"))]);

    bytes.clear();
    frontend::write_execute(&mut bytes, "p");
    let PgWireFrontendMessage::Execute(execute) = decoded(&bytes) else {
        panic!("no Execute")
    };
    assert_eq!((execute.name.as_deref(), execute.max_rows), (Some("p"), 0));

    bytes.clear();
    frontend::write_close(&mut bytes, Named::Statement(b"s"));
    let PgWireFrontendMessage::Close(close) = decoded(&bytes) else {
        panic!("no Close")
    };
    assert_eq!((close.target_type, close.name.as_deref()), (b'S', Some("s")));

    bytes.clear();
    frontend::write_sync(&mut bytes);
    assert!(matches!(decoded(&bytes), PgWireFrontendMessage::Sync(_)));

    let ours = Response::new(Severity::Error, response::sqlstate::INVALID_PARAMETER_VALUE, "no").hint("do");
    let mut bytes = BytesMut::from(&ours.to_bytes()[..]);
    let theirs = PgWireBackendMessage::decode(&mut bytes, &in_session())
        .expect("decoded")
        .expect("whole");
    let PgWireBackendMessage::ErrorResponse(theirs) = theirs else {
        panic!("no ErrorResponse")
    };
    let fields = [
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', "22023"),
        (b'M', "no"),
        (b'H', "do"),
    ];
    assert_eq!(theirs.fields, fields.map(|(code, text)| (code, text.to_owned())));
}

#[test]
fn startup_packets_are_read_alike() {
    let parameters = [(&b"user"[..], &b"alice"[..]), (b"bemi.context", b"{}")];
    let packet = startup::startup_packet(3 << 16, parameters);
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    let theirs = Startup::decode(&mut BytesMut::from(&packet[..]), &context)
        .expect("decoded")
        .expect("whole");
    assert_eq!(theirs.parameters["user"], "alice");
    assert_eq!(theirs.parameters["bemi.context"], "{}");
    let Ok(startup::StartupPacket::Startup(ours)) = startup::parse(&packet) else {
        panic!("no startup message")
    };
    assert_eq!(ours.parameters, parameters);
}
