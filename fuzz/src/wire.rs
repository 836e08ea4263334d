//! Frames and their views, startup packets, error responses.

use bemi::context::startup_value;
use bemi::wire::backend;
use bemi::wire::frame::{HEADER_LEN, Header, write_frame};
use bemi::wire::frontend::{self, BindNames};
use bemi::wire::response::{field, field_of, write_with_position};
use bemi::wire::startup::{self, StartupMessage, StartupPacket};

use super::Target;

/// A stream of frames, each looked at in every way there is.
pub const FRAMES: Target = Target {
    name: "frames",
    run: frames,
    seeds: &[
        b"Q\0\0\0\x0dselect 1\0",
        b"P\0\0\0\x11s\0select $1\0\0\0B\0\0\0\x13\0s\0\0\x01\0\0\0\x01\0\0\0\x01x\0\0",
        b"Z\0\0\0\x05IS\0\0\0\x08a\0b\0D\0\0\0\x0c\0\x01\0\0\0\x02hi",
    ],
};

fn frames(mut data: &[u8]) {
    while let Ok(Some(header)) = Header::read(data) {
        let Some(frame) = data.get(..header.frame_len) else {
            break;
        };
        let body = &frame[HEADER_LEN..];
        let mut written = Vec::new();
        write_frame(&mut written, header.tag, |out| out.extend_from_slice(body));
        assert_eq!(written, frame, "a frame written anew");
        views(body);
        data = &data[header.frame_len..];
    }
    views(data);
}

/// None of them may panic, whatever message they are shown.
fn views(body: &[u8]) {
    if let Ok(text) = frontend::query(body) {
        assert_eq!(text.len() + 1, body.len());
    }
    _ = frontend::Parse::read(body);
    _ = frontend::execute(body);
    _ = frontend::named("Close", body);
    for number in [0, 1, 2, u16::MAX] {
        _ = frontend::bind_parameter(body, number);
    }
    // The names are read from what is there; more bytes behind them change nothing.
    for end in 0..body.len().min(64) {
        if let Some(names) = BindNames::peek(&body[..end]) {
            assert_eq!(BindNames::peek(body), Some(names));
        }
    }
    _ = backend::ready_for_query(body);
    _ = backend::parameter_status(body);
    _ = backend::command_complete(body);
    _ = backend::first_column(body);
    _ = backend::only_column_name(body);
}

/// A startup packet, and the text of `options`.
pub const STARTUP: Target = Target {
    name: "startup",
    run: startup,
    seeds: &[
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
        b"\0\0\0\x2b\0\x03\0\0user\0a\0options\0-c bemi.context={}\0\0",
        b"\0\0\0\x1e\0\x03\0\x02user\0a\0bemi.context\0{}\0\0",
        b"--bemi.context=a\\ b -cbemi.context={} -c",
    ],
};

fn startup(data: &[u8]) {
    if let Ok(StartupPacket::Startup(message)) = startup::parse(data) {
        _ = message.asks_for_replication();
        _ = startup_value(&message);
        let again = startup::startup_packet(message.version, message.parameters.iter().copied());
        assert_eq!(
            startup::parse(&again),
            Ok(StartupPacket::Startup(message)),
            "a packet written anew"
        );
    }
    let options = StartupMessage {
        version: 3 << 16,
        parameters: vec![(&b"options"[..], data)],
    };
    _ = startup_value(&options);
}

/// The body of an ErrorResponse or NoticeResponse.
pub const RESPONSES: Target = Target {
    name: "responses",
    run: responses,
    seeds: &[b"SERROR\0VERROR\0C42601\0Msyntax error\0P30\0Fscan.l\0\0"],
};

fn responses(body: &[u8]) {
    let mut kept = Vec::new();
    let rewritten = write_with_position(&mut kept, b'E', body, Some);
    let state = field_of(body, field::SQLSTATE);
    assert_eq!(rewritten.is_ok(), state.is_ok());
    if rewritten.is_err() {
        return;
    }
    let again = &kept[HEADER_LEN..];
    assert_eq!(
        Header::read(&kept).map(|header| header.map(|h| h.frame_len)),
        Ok(Some(kept.len()))
    );
    for code in [field::SEVERITY, field::SQLSTATE, field::MESSAGE, field::HINT] {
        assert_eq!(
            field_of(again, code),
            field_of(body, code),
            "a field that is no position"
        );
    }
    let mut without = Vec::new();
    assert!(write_with_position(&mut without, b'E', body, |_| None).is_ok());
    if let Ok(Some(position)) = field_of(&without[HEADER_LEN..], field::POSITION) {
        let number = std::str::from_utf8(position).map(str::parse::<usize>);
        assert!(!matches!(number, Ok(Ok(_))), "a position that was to be left out");
    }
}
