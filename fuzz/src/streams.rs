//! Protocols inside of the protocol: logical decoding, logins.

use std::sync::{Arc, LazyLock};

use bemi::auth::{
    ChannelBindingPolicy, ClientChannel, Entropy, Frame, Login, LoginSettings, MockNonce, Mode, Progress,
    UpstreamChannel, Users,
};
use bemi::replication::pgoutput::{decode, decode_streamed};
use bemi::wire::frame::{HEADER_LEN, Header};

use super::Target;
use super::input::Input;

/// One message of `pgoutput`.
pub const PGOUTPUT: Target = Target {
    name: "pgoutput",
    run: pgoutput,
    seeds: &[
        b"B\0\0\0\0\x01\x8b\x1c\x58\0\x02\x9d\x6a\x5a\x4e\x2d\xa1\0\0\x02\xe3",
        b"R\0\0\x40\0public\0todo\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0task\0\0\0\0\x19\xff\xff\xff\xff",
        b"I\0\0\x40\0N\0\x02t\0\0\0\x011n",
        b"U\0\0\x40\0O\0\x01t\0\0\0\x011N\0\x02t\0\0\0\x011u",
        b"M\x01\0\0\0\0\x01\x8b\x1c\x58_bemi\0\0\0\0\x02{}",
        b"T\0\0\0\x02\x03\0\0\x40\0\0\0\x40\x01",
    ],
};

fn pgoutput(data: &[u8]) {
    if decode(data).is_ok() {
        // Exactly one message: neither less nor more than it is that message.
        assert!(decode(&data[..data.len() - 1]).is_err());
        assert!(decode(&[data, b"\0"].concat()).is_err());
    }
    _ = decode_streamed(data);
}

/// A login in every mode, against messages of either side.
pub const LOGIN: Target = Target {
    name: "login",
    run: login,
    seeds: &[
        b"\x00SR\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0Cp\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=fyko+d2lbbFgONRv9qkxdawL",
        b"\x01SR\0\0\0\x08\0\0\0\x03Cp\0\0\0\x0bpencil\0SR\0\0\0\x08\0\0\0\0",
        b"\x02SR\0\0\0\x08\0\0\0\0Cp\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=fyko+d2lbbFgONRv9qkxdawL",
        b"\x01SR\0\0\0\x0c\0\0\0\x05abcdCp\0\0\0\x0bpencil\0",
    ],
};

/// Read once: deriving a key takes longer than a login.
static USERS: LazyLock<Arc<Users>> = LazyLock::new(|| {
    let users = Users::parse(b"\"alice\" \"pencil\"\n", MockNonce::new([3; 32]));
    Arc::new(users.expect("a users file"))
});

/// Iterations are cheap here, as in nobody's configuration.
const MAX_SCRAM_ITERATIONS: u32 = 16;

fn login(data: &[u8]) {
    let mut input = Input::new(data);
    let mut login = Login::new(settings(input.byte()), entropy());
    while !input.is_empty() {
        let is_server = match input.byte() {
            b'S' => true,
            b'C' => false,
            other => other & 1 == 0,
        };
        let rest = input.rest();
        let Ok(Some(header)) = Header::read(rest) else {
            return;
        };
        let Some(body) = rest.get(HEADER_LEN..header.frame_len) else {
            return;
        };
        input = Input::new(&rest[header.frame_len..]);
        let frame = Frame {
            tag: header.tag,
            body,
        };
        let awaited = if is_server {
            login.awaits_server()
        } else {
            login.awaits_client()
        };
        assert!(
            login.awaits_server() || login.awaits_client(),
            "a login waits for someone"
        );
        if !awaited {
            continue;
        }
        let step = if is_server {
            _ = login.is_expensive(frame);
            login.on_server(frame)
        } else {
            login.on_client(frame)
        };
        match step {
            Ok(step) if step.progress == Progress::Continues => {}
            // A login that is over is asked nothing more.
            Ok(_) | Err(_) => return,
        }
    }
}

fn settings(choice: u8) -> LoginSettings {
    let mode = match choice % 3 {
        0 => Mode::Passthrough,
        1 => Mode::Password,
        _ => Mode::Scram,
    };
    let has_tls = choice & 8 == 0;
    LoginSettings {
        mode,
        user: b"alice".to_vec(),
        client: if has_tls {
            ClientChannel::Tls {
                server_end_point: (choice & 16 == 0).then(|| vec![1; 32]),
            }
        } else {
            ClientChannel::UnixSocket
        },
        upstream: UpstreamChannel {
            server_end_point: (choice & 32 == 0).then(|| vec![2; 32]),
            channel_binding: match choice >> 6 {
                0 => ChannelBindingPolicy::Prefer,
                1 => ChannelBindingPolicy::Require,
                _ => ChannelBindingPolicy::Disable,
            },
        },
        users: Some(Arc::clone(&USERS)),
        max_scram_iterations: MAX_SCRAM_ITERATIONS,
    }
}

fn entropy() -> Entropy {
    Entropy {
        client: [4; 18],
        upstream: [5; 18],
    }
}
