use super::{
    ColumnDefinition, DecodeError, Message, OldTuple, ReplicaIdentity, Type, Value, decode, decode_streamed,
};
use crate::replication::Lsn;

const RECORDED: [&str; 2] = [
    include_str!("recorded/postgresql-15.txt"),
    include_str!("recorded/postgresql-18.txt"),
];

struct Recorded {
    section: &'static str,
    in_stream: bool,
    bytes: Vec<u8>,
}

impl Recorded {
    fn decode(&self) -> Result<Message<'_>, DecodeError> {
        decode_at(self.in_stream, &self.bytes)
    }
}

fn decode_at(in_stream: bool, bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    if in_stream {
        decode_streamed(bytes).map(|(_, message)| message)
    } else {
        decode(bytes)
    }
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn recorded(text: &'static str) -> Vec<Recorded> {
    let (mut section, mut in_stream) = ("", false);
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            section = title;
            continue;
        }
        let bytes = hex(line);
        match bytes[0] {
            b'S' => in_stream = true,
            b'E' => in_stream = false,
            _change => {}
        }
        // Stream Start itself has the same form on either side.
        all.push(Recorded {
            section,
            in_stream: in_stream && bytes[0] != b'S',
            bytes,
        });
    }
    all
}

/// The messages that version 15 sent for the statements of the first section, in their order.
fn version_1() -> Vec<Recorded> {
    recorded(RECORDED[0])
        .into_iter()
        .filter(|message| message.section == "version 1")
        .collect()
}

#[test]
fn everything_two_servers_sent_decodes() {
    for text in RECORDED {
        let messages = recorded(text);
        let mut tags: Vec<u8> = messages.iter().map(|message| message.bytes[0]).collect();
        for message in &messages {
            message
                .decode()
                .unwrap_or_else(|error| panic!("{}: {error}", message.bytes.escape_ascii()));
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.escape_ascii().to_string(), "ABCDEIKMOPRSTUYbcpr");
    }
}

#[test]
fn a_message_that_ends_early_is_an_error_and_so_is_one_that_goes_on() {
    for text in RECORDED {
        for message in recorded(text) {
            for end in 0..message.bytes.len() {
                // A Stream Abort of version 2 is the beginning of one of version 4.
                let is_whole = message.bytes[0] == b'A' && end == 9;
                assert_eq!(
                    decode_at(message.in_stream, &message.bytes[..end]).is_ok(),
                    is_whole
                );
            }
            let longer = [&message.bytes[..], b"\0"].concat();
            assert!(
                decode_at(message.in_stream, &longer).is_err(),
                "{}",
                longer.escape_ascii()
            );
        }
    }
}

#[test]
fn no_changed_byte_makes_the_decoder_panic() {
    for message in recorded(RECORDED[1]) {
        for position in 0..message.bytes.len().min(200) {
            for value in [0, 1, 0x7F, 0x80, 0xFF, b'K', b'N', b'n', b't'] {
                let mut bytes = message.bytes.clone();
                bytes[position] = value;
                let _ = decode(&bytes);
                let _ = decode_streamed(&bytes);
            }
        }
    }
}

#[test]
fn begin_and_commit_say_which_transaction_where_and_when() {
    let messages = version_1();
    let Ok(Message::Begin(begin)) = messages[0].decode() else {
        panic!("the first message is Begin")
    };
    assert_eq!((begin.final_lsn, begin.xid), ("0/1548BB0".parse().unwrap(), 739));
    let Ok(Message::Commit(commit)) = messages[5].decode() else {
        panic!("the sixth message is Commit")
    };
    assert_eq!(commit.commit_lsn, begin.final_lsn);
    assert_eq!(commit.end_lsn, "0/1548BE0".parse().unwrap());
    assert_eq!(commit.committed_at, begin.committed_at);
    // The year 2026.
    assert_eq!(
        commit.committed_at.unix_micros() / 1_000_000 / 31_556_952 + 1970,
        2026
    );
}

#[test]
fn a_type_and_a_relation_describe_what_follows() {
    let messages = version_1();
    assert_eq!(
        messages[1].decode(),
        Ok(Message::Type(Type {
            oid: 0x4002,
            schema: b"public",
            name: b"mood"
        }))
    );
    let Ok(Message::Relation(relation)) = messages[2].decode() else {
        panic!("the third message is Relation")
    };
    assert_eq!(
        (relation.oid, relation.schema, relation.name),
        (0x4007, &b"public"[..], &b"todo"[..])
    );
    assert_eq!(relation.replica_identity, ReplicaIdentity::Default);
    let column = |is_key, name, type_oid, type_modifier| ColumnDefinition {
        is_key,
        name,
        type_oid,
        type_modifier,
    };
    assert_eq!(
        relation.columns,
        [
            column(true, b"id", 23, -1),
            column(false, b"task", 1043, 44),
            column(false, b"mood", 0x4002, -1),
            column(false, b"big", 25, -1),
        ]
    );
}

#[test]
fn replica_identity_decides_which_columns_are_keys_and_dropped_ones_are_not_sent() {
    let seen: Vec<_> = version_1()
        .iter()
        .filter_map(|message| match message.decode() {
            Ok(Message::Relation(relation)) => Some((
                String::from_utf8(relation.name.to_vec()).unwrap(),
                relation.replica_identity,
                relation
                    .columns
                    .iter()
                    .map(|column| column.is_key)
                    .collect::<Vec<_>>(),
            )),
            _other => None,
        })
        .take(5)
        .collect();
    let expected = [
        ("todo", ReplicaIdentity::Default, vec![true, false, false, false]),
        ("Ümlaut", ReplicaIdentity::Full, vec![true, true, true]),
        ("by_index", ReplicaIdentity::Index, vec![false, true]),
        ("nothing", ReplicaIdentity::Nothing, vec![false]),
        ("empty", ReplicaIdentity::Default, vec![]),
    ];
    assert_eq!(
        seen,
        expected.map(|(name, identity, keys)| (name.to_owned(), identity, keys))
    );
}

/// One line per change: kind, old row if any, new row if any.
fn outline(message: &Message<'_>) -> Option<String> {
    let row = |tuple: &[Value<'_>]| {
        let value = |value: &Value<'_>| match value {
            Value::Null => "null".to_owned(),
            Value::UnchangedToast => "unchanged".to_owned(),
            Value::Text(bytes) if bytes.len() > 20 => format!("{} bytes", bytes.len()),
            Value::Text(bytes) => format!("'{}'", bytes.escape_ascii()),
            Value::Binary(bytes) => format!("0x{bytes:02X?}"),
            Value::TooLong => "too long".to_owned(),
        };
        tuple.iter().map(value).collect::<Vec<_>>().join(",")
    };
    let old_row = |old: &OldTuple<'_>| match old {
        OldTuple::Key(tuple) => format!("key({})", row(tuple)),
        OldTuple::Full(tuple) => format!("old({})", row(tuple)),
    };
    match message {
        Message::Insert(insert) => Some(format!("insert ({})", row(&insert.new))),
        Message::Update(update) => {
            let old = update.old.as_ref().map(old_row).unwrap_or_default();
            Some(format!("update {old}({})", row(&update.new)))
        }
        Message::Delete(delete) => Some(format!("delete {}", old_row(&delete.old))),
        Message::Truncate(truncate) => Some(format!(
            "truncate {} cascade={} restart={}",
            truncate.relations.len(),
            truncate.cascade,
            truncate.restart_identity
        )),
        _other => None,
    }
}

fn outlines(messages: &[Recorded]) -> Vec<String> {
    messages
        .iter()
        .filter_map(|message| outline(&message.decode().unwrap()))
        .collect()
}

#[test]
fn changes_hold_the_values_the_statements_wrote() {
    assert_eq!(
        outlines(&version_1()),
        [
            "insert ('1','Sleep','ok',3000 bytes)",
            "insert ('2',null,null,null)",
            // The long value did not change, neither did the key.
            "update ('1','Eat','ok',unchanged)",
            // The key changed.
            "update key('2',null,null,null)('3',null,null,null)",
            "delete key('3',null,null,null)",
            "insert ('1','t','12.50')",
            "update old('1','t','12.50')('1','t','NaN')",
            "delete old('1','t','NaN')",
            "insert ('1','2')",
            "update key(null,'2')('1','3')",
            "delete key(null,'3')",
            "insert ('1')",
            "insert ()",
            "truncate 1 cascade=false restart=false",
            "truncate 2 cascade=true restart=true",
            "insert ('9','x',null,null)",
        ]
    );
}

#[test]
fn binary_values_are_told_from_text() {
    let all = recorded(RECORDED[0]);
    let binary: Vec<_> = all
        .into_iter()
        .filter(|message| message.section == "version 1, binary")
        .collect();
    let number = "0x[00, 02, 00, 00, 00, 00, 00, 02, 00, 02, 13, 88]";
    assert_eq!(
        outlines(&binary),
        [format!("insert (0x[00, 00, 00, 01],0x[00],{number})")]
    );
}

#[test]
fn logical_messages_keep_prefix_content_and_whether_they_are_transactional() {
    let messages = version_1();
    let logical: Vec<_> = messages
        .iter()
        .filter_map(|message| match message.decode() {
            Ok(Message::Logical(logical)) => Some((logical.transactional, logical.prefix, logical.content)),
            _other => None,
        })
        .collect();
    assert_eq!(
        logical,
        [
            (true, &b"_bemi"[..], &b"{\"n\": 1}"[..]),
            (false, &b""[..], &b""[..])
        ]
    );
}

#[test]
fn the_origin_is_named() {
    let messages = version_1();
    let origin = messages.iter().find_map(|message| match message.decode() {
        Ok(Message::Origin(origin)) => Some((origin.commit_lsn, origin.name)),
        _other => None,
    });
    assert_eq!(origin, Some((Lsn(0xABC), &b"elsewhere"[..])));
}

#[test]
fn streamed_changes_carry_their_transaction_and_subtransaction() {
    let all = recorded(RECORDED[0]);
    let mut xids = Vec::new();
    let mut abort = None;
    for message in all
        .iter()
        .filter(|message| message.section == "version 2, streaming")
    {
        if message.in_stream {
            xids.extend(decode_streamed(&message.bytes).unwrap().0);
        } else if let Message::StreamAbort(found) = message.decode().unwrap() {
            abort = abort.or(Some(found));
        }
    }
    let abort = abort.expect("a savepoint was rolled back");
    assert_ne!(abort.xid, abort.subxid);
    assert_eq!(abort.aborted, None);
    assert!(
        xids.contains(&abort.xid) && xids.contains(&abort.subxid),
        "{xids:?} {abort:?}"
    );
}

#[test]
fn version_4_says_where_a_streamed_transaction_was_aborted() {
    let all = recorded(RECORDED[1]);
    let aborted = all.iter().filter_map(|message| match message.decode() {
        Ok(Message::StreamAbort(abort)) => Some(abort.aborted.is_some()),
        _other => None,
    });
    assert_eq!(aborted.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn two_phase_messages_name_their_transaction() {
    let all = recorded(RECORDED[0]);
    let steps: Vec<_> = all
        .iter()
        .filter_map(|message| {
            let decoded = message.decode().unwrap();
            let (kind, gid) = match decoded {
                Message::BeginPrepare(point) => ("begin prepare", point.gid),
                Message::Prepare(point) => ("prepare", point.gid),
                Message::CommitPrepared(point) => ("commit", point.gid),
                Message::StreamPrepare(point) => ("stream prepare", point.gid),
                Message::RollbackPrepared(rollback) => ("rollback", rollback.gid),
                _other => return None,
            };
            Some(format!("{kind} {}", gid.escape_ascii()))
        })
        .collect();
    assert_eq!(
        steps,
        [
            "stream prepare long",
            "commit long",
            "begin prepare short",
            "prepare short",
            "commit short",
            "begin prepare undone",
            "prepare undone",
            "rollback undone",
        ]
    );
}

#[test]
fn what_the_protocol_does_not_know_is_an_error() {
    let tag = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert_eq!(tag(b""), DecodeError::Empty);
    assert_eq!(tag(b"Z"), DecodeError::UnknownTag(b'Z'));
    assert_eq!(
        tag(b"I\0\0\0\x01X\0\0"),
        DecodeError::Unexpected {
            tag: b'I',
            field: "the kind of the new row",
            value: i64::from(b'X'),
        }
    );
    assert_eq!(
        tag(b"I\0\0\0\x01N\0\x01?"),
        DecodeError::Unexpected {
            tag: b'I',
            field: "the kind of a value",
            value: i64::from(b'?'),
        }
    );
    assert_eq!(
        tag(b"I\0\0\0\x01N\xFF\xFF"),
        DecodeError::Unexpected {
            tag: b'I',
            field: "the number of values",
            value: -1,
        }
    );
    assert_eq!(
        tag(b"I\0\0\0\x01N\0\x01t\x80\0\0\0"),
        DecodeError::Unexpected {
            tag: b'I',
            field: "the length of a value",
            value: i64::from(i32::MIN),
        }
    );
    assert_eq!(
        tag(b"I\0\0\0\x01N\0\x01t\x7F\xFF\xFF\xFF"),
        DecodeError::Truncated {
            tag: b'I',
            field: "a value",
        }
    );
    assert_eq!(
        tag(b"T\x7F\xFF\xFF\xFF\0"),
        DecodeError::Truncated {
            tag: b'T',
            field: "a table's oid"
        }
    );
    assert_eq!(tag(b"E\0"), DecodeError::TrailingBytes { tag: b'E', count: 1 });
}
