//! The truth: what the source's log holds, read by the server's own test_decoding through a slot that nobody else has
//! touched. Nothing of the tracker's code is used to read it.

use crate::change::{Change, Operation, Row};
use crate::stage::{JOURNAL, Stage};

/// Changes read at once; a transaction is never parted.
const AT_ONCE: i32 = 30_000;

/// All row changes in the order of their commits, each with the context that its transaction gave it.
pub fn read(stage: &Stage) -> Vec<Change> {
    let mut journal = Journal::default();
    loop {
        // Of the tables of the tracker only what is needed to see that there is more. Empty transactions are not skipped: a
        // message would then stand ahead of the BEGIN of its transaction (test_decoding.c, `pg_decode_message`).
        let query = "SELECT xid::text::bigint, lsn::text, CASE WHEN data NOT LIKE 'table public.changes%' THEN data END
                       FROM pg_logical_slot_get_changes($1, NULL, $2)";
        let rows = stage.ask(0, query, &[&JOURNAL, &AT_ONCE]).expect("the journal");
        if rows.is_empty() {
            return journal.changes;
        }
        for row in rows {
            if let Some(line) = row.get::<_, Option<&str>>(2) {
                journal.line(row.get(0), row.get(1), line);
            }
        }
    }
}

#[derive(Default)]
struct Journal {
    changes: Vec<Change>,
    /// Of the transaction under way.
    context: Option<Option<String>>,
    /// Its changes ahead of the first context begin here.
    unspoken: usize,
    /// Its latest changes, which have this position, begin here.
    latest: (String, usize),
}

impl Journal {
    fn line(&mut self, transaction: i64, lsn: &str, line: &str) {
        if line.starts_with("BEGIN ") {
            self.context = None;
            self.unspoken = self.changes.len();
            self.latest = (String::new(), self.changes.len());
        } else if let Some(message) = line.strip_prefix("message: ") {
            self.message(lsn, message);
        } else if let Some(change) = line.strip_prefix("table public.") {
            let mut change = change_of(transaction, change);
            change.user = self.context.clone().flatten();
            if self.latest.0 != lsn {
                self.latest = (lsn.to_owned(), self.changes.len());
            }
            self.changes.push(change);
        } else {
            assert!(
                line.starts_with("COMMIT "),
                "an unknown line of test_decoding: {line}"
            );
        }
    }

    /// The context of a change is the latest before it, else the first behind it. A message's position is that of its end: it
    /// was written ahead of a change that begins there, also where the server tells of it behind (they are of two
    /// subtransactions).
    fn message(&mut self, lsn: &str, message: &str) {
        let (head, content) = message.split_once(" content:").expect("a message's content");
        assert!(head.starts_with("transactional: 1 prefix: _bemi,"), "{message}");
        let context: serde_json::Value = serde_json::from_str(content).expect("JSON");
        let user = context["user_id"].as_str().map(str::to_owned);
        let since = match &self.context {
            None => self.unspoken,
            Some(_) if self.latest.0 == lsn => self.latest.1,
            Some(_) => self.changes.len(),
        };
        for change in &mut self.changes[since..] {
            change.user.clone_from(&user);
        }
        self.context = Some(user);
    }
}

/// `item: UPDATE: old-key: id[bigint]:1 who[text]:'a' new-tuple: id[bigint]:1 who[text]:null`
fn change_of(transaction: i64, line: &str) -> Change {
    let (table, rest) = line.split_once(": ").expect("a table");
    let (operation, rest) = rest.split_once(": ").expect("an operation");
    let (operation, before, after) = match operation {
        "INSERT" => (Operation::Create, None, Some(columns(rest))),
        "UPDATE" => {
            let (old, new) = rest
                .strip_prefix("old-key: ")
                .and_then(|rest| rest.split_once(" new-tuple: "))
                .expect("both rows, as the identity is FULL");
            (Operation::Update, Some(columns(old)), Some(columns(new)))
        }
        "DELETE" => (Operation::Delete, Some(columns(rest)), None),
        "TRUNCATE" => (Operation::Truncate, None, None),
        other => panic!("an unknown operation of test_decoding: {other}"),
    };
    let after = after.map(|after| Row::new(filled_in(after, before.as_deref())));
    Change {
        transaction,
        table: table.to_owned(),
        operation,
        before: before.map(|before| Row::new(filled_in(before, None))),
        after,
        user: None,
    }
}

/// Names and values, as they are written.
fn columns(row: &str) -> Vec<(&str, &str)> {
    let column = |text: &'_ str| {
        let (name, rest) = text.split_once('[')?;
        Some((name.len(), text.len() - rest.split_once("]:")?.1.len()))
    };
    row.split(' ')
        .map(|text| {
            let (name, value) = column(text).unwrap_or_else(|| panic!("no column of test_decoding: {text}"));
            (&text[..name], &text[value..])
        })
        .collect()
}

/// Without NULLs; what an UPDATE left out of line is as it was before.
fn filled_in(row: Vec<(&str, &str)>, before: Option<&[(&str, &str)]>) -> Vec<(String, String)> {
    row.into_iter()
        .filter_map(|(name, value)| {
            let is_unchanged = value == "unchanged-toast-datum";
            let old = || {
                before?
                    .iter()
                    .find(|(column, _)| *column == name)
                    .map(|(_, value)| *value)
            };
            let value = if is_unchanged {
                old().expect("what it was before")
            } else {
                value
            };
            (value != "null").then(|| (name.to_owned(), value.trim_matches('\'').to_owned()))
        })
        .collect()
}
