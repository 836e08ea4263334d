use std::convert::Infallible;
use std::sync::Arc;

use super::{AssembleError, Assembler, Boundary, Catalog, MAX_HELD_BYTES, Outlet, OwnTables, Settings};
use crate::config::ColumnPattern;
use crate::replication::{Lsn, Timestamp};
use crate::track::context::StoredContext;
use crate::track::copy::Put;
use crate::track::id::{Origin, hyphenated};
use crate::track::kind::TypeFacts;
use crate::track::rules::Rules;
use crate::track::table::TableFacts;
use crate::wire::encoding::ClientEncoding;

const BEGIN: &[u8] = b"B\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x07";
const COMMIT: &[u8] = b"C\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02";
/// `public.todo (id int4, task text)`, REPLICA IDENTITY FULL.
const FULL: &[u8] =
    b"R\0\0\0\x09public\0todo\0f\0\x02\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF\x01task\0\0\0\0\x19\xFF\xFF\xFF\xFF";
/// The same table, with its primary key as identity.
const KEY: &[u8] =
    b"R\0\0\0\x09public\0todo\0d\0\x02\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF\0task\0\0\0\0\x19\xFF\xFF\xFF\xFF";
const INSERT: &[u8] = b"I\0\0\0\x09N\0\x02t\0\0\0\x011t\0\0\0\x05Sleep";
const UPDATE_OF_FULL: &[u8] =
    b"U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x012t\0\0\0\x03Eat";
const UPDATE_OF_KEY: &[u8] = b"U\0\0\0\x09N\0\x02t\0\0\0\x011t\0\0\0\x03Eat";
const UPDATE_WITHOUT_TASK: &[u8] = b"U\0\0\0\x09N\0\x02t\0\0\0\x011u";
const DELETE_OF_KEY: &[u8] = b"D\0\0\0\x09K\0\x02t\0\0\0\x011n";
const TRUNCATE: &[u8] = b"T\0\0\0\x01\0\0\0\0\x09";

fn message(flags: u8, prefix: &str, content: &str) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [
        b"M",
        &[flags][..],
        &[0; 8],
        prefix.as_bytes(),
        b"\0",
        &length,
        content.as_bytes(),
    ]
    .concat()
}

fn context(number: u32) -> Vec<u8> {
    message(1, "_bemi", &format!("{{\"n\": {number}}}"))
}

/// A catalog in which `todo` has the primary key `id`.
struct Fixed;

impl Catalog for Fixed {
    type Error = Infallible;

    fn settle(&mut self, _xid: u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn table(&mut self, _oid: u32) -> Result<Option<TableFacts>, Infallible> {
        Ok(Some(TableFacts {
            primary_key: vec![b"id".to_vec()],
            root: None,
        }))
    }

    fn types(&mut self, _oids: &[u32]) -> Result<Vec<TypeFacts>, Infallible> {
        Ok(Vec::new())
    }
}

/// What came out, in order.
#[derive(Debug, PartialEq)]
enum Made {
    FixUp(u128, u128, String),
    End(Lsn),
    Idle(Lsn),
}

#[derive(Default)]
pub(super) struct Collected {
    bytes: Vec<u8>,
    rows: usize,
    begun: usize,
    made: Vec<Made>,
}

impl Put for Collected {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl Outlet for Collected {
    fn end_row(&mut self) {
        self.rows += 1;
    }

    fn fix_up(&mut self, first: u128, last: u128, _committed_at: Timestamp, context: &StoredContext) {
        let context = String::from_utf8(context.json.clone()).unwrap();
        self.made.push(Made::FixUp(first, last, context));
    }

    fn begin(&mut self, _committed_at: Timestamp) {
        self.begun += 1;
    }

    fn end(&mut self, boundary: Boundary) {
        self.made.push(Made::End(boundary.end_lsn));
    }

    fn idle(&mut self, lsn: Lsn) {
        self.made.push(Made::Idle(lsn));
    }
}

impl Collected {
    /// The rows, each as its columns.
    pub(super) fn table(&self) -> Vec<Vec<String>> {
        let text = String::from_utf8(self.bytes.clone()).unwrap();
        let rows: Vec<Vec<String>> = text
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect();
        assert_eq!(rows.len(), self.rows);
        assert!(rows.iter().all(|row| row.len() == 15));
        rows
    }

    fn column(&self, place: usize) -> Vec<String> {
        self.table()
            .into_iter()
            .map(|mut row| row.swap_remove(place))
            .collect()
    }

    fn contexts(&self) -> Vec<String> {
        self.column(14)
    }
}

const PRIMARY_KEY: usize = 4;
const PREVIOUS: usize = 5;
const OPERATION: usize = 6;
const BEFORE: usize = 7;
const AFTER: usize = 8;
const INCOMPLETE: usize = 9;

pub(super) fn settings(rules: Rules) -> Settings {
    Settings {
        origin: Origin {
            system_identifier: 1,
            timeline: 1,
        },
        database: "app".into(),
        rules: Arc::new(rules),
        own_tables: None,
        max_context_bytes: 1_000,
        encoding: ClientEncoding::default(),
    }
}

fn assembled_with(settings: Settings, messages: &[&[u8]]) -> Result<Collected, AssembleError<Infallible>> {
    let mut assembler = Assembler::new(settings, Fixed);
    let mut out = Collected::default();
    for bytes in messages {
        assembler.message(Lsn(5), bytes, Timestamp(0), &mut out)?;
    }
    Ok(out)
}

fn assembled(messages: &[&[u8]]) -> Collected {
    assembled_with(settings(Rules::default()), messages).unwrap()
}

#[test]
fn a_change_has_the_latest_context_before_it_else_the_first_after_it() {
    let (first, second) = (context(1), context(2));
    let all = assembled(&[
        BEGIN, FULL, INSERT, &first, INSERT, INSERT, &second, INSERT, COMMIT, BEGIN, INSERT, COMMIT,
    ]);
    let expected = [r#"{"n": 1}"#, r#"{"n": 1}"#, r#"{"n": 1}"#, r#"{"n": 2}"#, "{}"];
    assert_eq!(all.contexts(), expected);
    assert_eq!(all.made, [Made::End(Lsn(2)), Made::End(Lsn(2))]);
    assert_eq!(all.begun, 2);
}

#[test]
fn messages_of_others_and_those_outside_of_transactions_are_no_context() {
    let (other, outside) = (
        message(1, "other", "{\"n\": 1}"),
        message(0, "_bemi", "{\"n\": 1}"),
    );
    assert_eq!(
        assembled(&[BEGIN, &other, &outside, FULL, INSERT, COMMIT]).contexts(),
        ["{}"]
    );
}

#[test]
fn a_message_that_ends_where_rows_begin_was_written_ahead_of_them() {
    let mut late = context(2);
    late[2..10].copy_from_slice(&5_u64.to_be_bytes());
    let made = assembled(&[BEGIN, KEY, &context(1), INSERT, INSERT, &late, INSERT, COMMIT]);
    assert_eq!(made.contexts(), ["{\"n\": 1}", "{\"n\": 1}", "{\"n\": 2}"]);
    let Some(Made::FixUp(first, last, context)) = made.made.first() else {
        panic!("nothing made up for: {:?}", made.made);
    };
    let ids = [*first, *last].map(|id| String::from_utf8(hyphenated(id).to_vec()).unwrap());
    assert_eq!(ids[..], made.column(0)[..2]);
    assert_eq!(context, "{\"n\": 2}");
}

#[test]
fn too_many_rows_to_be_held_back_are_made_up_for() {
    let large = vec![b'x'; MAX_HELD_BYTES / 2];
    let length = u32::try_from(large.len()).unwrap().to_be_bytes();
    let insert = [&b"I\0\0\0\x09N\0\x02t\0\0\0\x011t"[..], &length, &large].concat();
    let context = context(1);
    let all = assembled(&[BEGIN, FULL, &insert, &insert, &insert, &context, &insert, COMMIT]);
    assert_eq!(all.contexts(), ["{}", "{}", "{}", r#"{"n": 1}"#]);
    let ids = all.column(0);
    let id = |number| settings(Rules::default()).origin.change_id(Lsn(1), number);
    assert_eq!(ids[2].as_bytes(), hyphenated(id(2)));
    assert_eq!(
        all.made,
        [Made::FixUp(id(0), id(2), r#"{"n": 1}"#.into()), Made::End(Lsn(2))]
    );
}

#[test]
fn each_operation_says_what_the_log_knows() {
    let all = assembled(&[
        BEGIN,
        FULL,
        INSERT,
        UPDATE_OF_FULL,
        KEY,
        UPDATE_OF_KEY,
        DELETE_OF_KEY,
        TRUNCATE,
        COMMIT,
    ]);
    assert_eq!(
        all.column(OPERATION),
        ["CREATE", "UPDATE", "UPDATE", "DELETE", "TRUNCATE"]
    );
    let sleep = r#"{"id":1,"task":"Sleep"}"#;
    assert_eq!(
        all.column(BEFORE),
        ["\\N", sleep, r#"{"id":1}"#, r#"{"id":1}"#, "\\N"]
    );
    let after = [
        sleep,
        r#"{"id":2,"task":"Eat"}"#,
        r#"{"id":1,"task":"Eat"}"#,
        "\\N",
        "\\N",
    ];
    assert_eq!(all.column(AFTER), after);
    let key_only = r#"{"before":"key"}"#;
    assert_eq!(all.column(INCOMPLETE), ["\\N", "\\N", key_only, key_only, "\\N"]);
    assert_eq!(all.column(PRIMARY_KEY), ["1", "2", "1", "1", "\\N"]);
    assert_eq!(all.column(PREVIOUS), ["\\N", "1", "\\N", "\\N", "\\N"]);
}

#[test]
fn a_value_that_the_log_leaves_out_is_left_out_and_listed() {
    let all = assembled(&[BEGIN, KEY, UPDATE_WITHOUT_TASK, COMMIT]);
    assert_eq!(all.column(AFTER), [r#"{"id":1}"#]);
    assert_eq!(all.column(INCOMPLETE), [r#"{"before":"key","after":["task"]}"#]);
}

#[test]
fn an_old_row_fills_in_what_the_new_one_leaves_out() {
    let update = b"U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x012u";
    let all = assembled(&[BEGIN, FULL, update, COMMIT]);
    assert_eq!(all.column(AFTER), [r#"{"id":2,"task":"Sleep"}"#]);
    assert_eq!(all.column(INCOMPLETE), ["\\N"]);
}

fn redacting(rule: &str) -> Settings {
    settings(Rules {
        redact: vec![rule.parse().unwrap()],
        ..Rules::default()
    })
}

#[test]
fn a_redacted_value_is_nowhere_but_that_it_changed_is_told() {
    for rule in ["task=drop", "task=mask", "todo.task=hash"] {
        let unchanged = b"U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x012t\0\0\0\x05Sleep";
        let messages = [
            BEGIN,
            FULL,
            INSERT,
            UPDATE_OF_FULL,
            unchanged,
            KEY,
            UPDATE_OF_KEY,
            COMMIT,
        ];
        let all = assembled_with(redacting(rule), &messages).unwrap();
        let text = String::from_utf8(all.bytes.clone()).unwrap();
        assert!(!text.contains("Sleep") && !text.contains("Eat"), "{rule}: {text}");
        let said = |what: &str| format!(r#"{{"redacted":{{"task":"{what}"}}}}"#);
        let unknown = r#"{"before":"key","redacted":{"task":"unknown"}}"#.to_owned();
        assert_eq!(
            all.column(INCOMPLETE),
            [said("present"), said("changed"), said("unchanged"), unknown]
        );
    }
}

#[test]
fn a_redacted_primary_key_is_redacted_there_too() {
    let key = |rule| {
        assembled_with(redacting(rule), &[BEGIN, FULL, INSERT, COMMIT])
            .unwrap()
            .column(PRIMARY_KEY)
    };
    assert_eq!(key("id=mask"), ["***"]);
    assert_eq!(key("id=drop"), ["\\N"]);
}

#[test]
fn an_update_of_nothing_but_ignored_columns_is_no_change() {
    let ignore = |column: &str| {
        let pattern: ColumnPattern = column.parse().unwrap();
        let rules = Rules {
            ignore_columns: vec![pattern],
            ..Rules::default()
        };
        let same_id = b"U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x011t\0\0\0\x03Eat";
        let all = assembled_with(
            settings(rules),
            &[BEGIN, FULL, same_id, KEY, UPDATE_OF_KEY, INSERT, COMMIT],
        );
        all.unwrap().column(OPERATION)
    };
    // Without the old row nobody knows.
    assert_eq!(ignore("todo.task"), ["UPDATE", "CREATE"]);
    assert_eq!(ignore("todo.id"), ["UPDATE", "UPDATE", "CREATE"]);
}

#[test]
fn what_is_not_stored_moves_the_position_all_the_same_and_keeps_the_ids() {
    let own = Settings {
        own_tables: Some(OwnTables {
            schema: "public".into(),
        }),
        ..settings(Rules::default())
    };
    let changes = b"R\0\0\0\x08public\0changes\0d\0\x01\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF";
    let insert = b"I\0\0\0\x08N\0\x01t\0\0\0\x011";
    let all = assembled_with(own.clone(), &[BEGIN, changes, insert, COMMIT]).unwrap();
    assert_eq!((all.rows, all.begun), (0, 0));
    assert_eq!(all.made, [Made::Idle(Lsn(2))]);
    let all = assembled_with(own, &[BEGIN, changes, insert, FULL, INSERT, COMMIT]).unwrap();
    let id = settings(Rules::default()).origin.change_id(Lsn(1), 1);
    assert_eq!(all.column(0)[0].as_bytes(), hyphenated(id));
}

#[test]
fn a_keepalive_counts_only_between_transactions() {
    let mut assembler = Assembler::new(settings(Rules::default()), Fixed);
    let mut out = Collected::default();
    assembler.keepalive(Lsn(1), &mut out);
    assembler.message(Lsn(5), BEGIN, Timestamp(0), &mut out).unwrap();
    assembler.keepalive(Lsn(2), &mut out);
    assert_eq!(out.made, [Made::Idle(Lsn(1))]);
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    let error = |messages: &[&[u8]]| assembled_with(settings(Rules::default()), messages).err();
    assert!(matches!(
        error(&[BEGIN, INSERT]),
        Some(AssembleError::UnknownTable(9))
    ));
    assert!(matches!(
        error(&[INSERT]),
        Some(AssembleError::NoTransaction("change"))
    ));
    assert!(matches!(
        error(&[COMMIT]),
        Some(AssembleError::NoTransaction("commit"))
    ));
    assert!(matches!(error(&[b"E"]), Some(AssembleError::NewerProtocol)));
    assert!(matches!(error(&[b"?"]), Some(AssembleError::Decode(_))));
}

#[test]
fn a_message_is_in_the_encoding_of_its_database() {
    let latin1 = Settings {
        encoding: ClientEncoding::from_name("LATIN1").unwrap(),
        ..settings(Rules::default())
    };
    let content = b"{\"name\": \"J\xFCrgen\"}";
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let message = [&b"M\x01\0\0\0\0\0\0\0\0_bemi\0"[..], &length, content].concat();
    let all = assembled_with(latin1, &[BEGIN, FULL, &message, INSERT, COMMIT]).unwrap();
    assert_eq!(all.contexts(), ["{\"name\": \"J\u{FC}rgen\"}"]);
}
