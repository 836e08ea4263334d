//! Compares the table `changes` with the journal, and what it says with what is so.

use std::collections::HashMap;

use tokio_postgres::Row as SqlRow;

use crate::change::{Change, Operation, Row};
use crate::journal;
use crate::load::Committed;
use crate::stage::Stage;

/// How many of the things that are wrong are shown.
const SHOWN: usize = 5;

/// Rows fetched at once.
const AT_ONCE: i64 = 50_000;

/// Fails unless the table holds what was committed, once, in order, each with its context. Returns how many changes those are.
pub fn verify(stage: &Stage, committed: &Committed) -> usize {
    let stored = stored(stage);
    let truth = journal::read(stage);
    is_the_same(&truth, &stored);
    contexts_are_those_of_the_rows(&stored);
    let tables = chains_link_up(&stored);
    rows_are_what_the_chains_end_with(stage, &tables);
    the_ledger_agrees(committed, &stored);
    let odd = "SELECT (SELECT count(*) FROM changes_gaps), (SELECT count(*) FROM changes WHERE incomplete IS NOT NULL)";
    let odd = stage.ask(stage.store(), odd, &[]).expect("an answer");
    assert_eq!(
        (odd[0].get(0), odd[0].get(1)),
        (0_i64, 0_i64),
        "gaps, and incomplete changes"
    );
    stored.len()
}

/// The table, in its own order.
fn stored(stage: &Stage) -> Vec<Change> {
    let query = format!(
        "SELECT id::text, transaction_id, \"table\", operation, before::text, after::text, context ->> 'user_id'
           FROM changes WHERE id > $1::text::uuid ORDER BY id LIMIT {AT_ONCE}"
    );
    let mut last = "00000000-0000-0000-0000-000000000000".to_owned();
    let mut changes = Vec::new();
    loop {
        let rows = stage.ask(stage.store(), &query, &[&last]).expect("changes");
        match rows.last() {
            None => return changes,
            Some(row) => last = row.get(0),
        }
        changes.extend(rows.iter().map(change_of));
    }
}

fn change_of(row: &SqlRow) -> Change {
    Change {
        transaction: row.get(1),
        table: row.get(2),
        operation: match row.get(3) {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            "TRUNCATE" => Operation::Truncate,
            other => panic!("an unknown operation: {other}"),
        },
        before: row.get::<_, Option<&str>>(4).map(row_of),
        after: row.get::<_, Option<&str>>(5).map(row_of),
        user: row.get(6),
    }
}

fn row_of(json: &str) -> Row {
    let columns: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).expect("a row in JSON");
    let columns = columns.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some((name, text)),
        other => Some((name, other.to_string())),
    });
    Row::new(columns.collect())
}

/// One by one, and in the same order.
fn is_the_same(truth: &[Change], stored: &[Change]) {
    if truth == stored {
        return;
    }
    let mut counts: HashMap<&Change, i64> = HashMap::new();
    for change in truth {
        *counts.entry(change).or_default() += 1;
    }
    for change in stored {
        *counts.entry(change).or_default() -= 1;
    }
    let of = |is_wrong: fn(i64) -> bool| -> Vec<&Change> {
        counts
            .iter()
            .filter(|(_, count)| is_wrong(**count))
            .map(|(change, _)| *change)
            .collect()
    };
    let (lost, surplus) = (of(|count| count > 0), of(|count| count < 0));
    let mut report = format!(
        "{} changes were committed, {} are stored: {} of them are missing, {} stand there without reason or once too often",
        truth.len(),
        stored.len(),
        lost.len(),
        surplus.len()
    );
    for (what, changes) in [("missing", lost), ("too much", surplus)] {
        for change in changes.iter().take(SHOWN) {
            report += &format!("\n  {what}: {change}");
        }
    }
    let different = truth.iter().zip(stored).position(|(one, other)| one != other);
    let at = different.unwrap_or(truth.len().min(stored.len()));
    for (what, changes) in [("committed", truth), ("stored", stored)] {
        if let Some(change) = changes.get(at) {
            report += &format!("\n  number {at}, {what}: {change}");
        }
    }
    panic!("{report}");
}

/// Each row says itself who wrote it.
fn contexts_are_those_of_the_rows(stored: &[Change]) {
    for change in stored {
        if let Some(after) = &change.after {
            assert_eq!(
                after.column("who"),
                change.user.as_deref(),
                "another context than the row's: {change}"
            );
        }
    }
}

type Tables<'a> = HashMap<&'a str, HashMap<&'a str, &'a Row>>;

/// What each change says was there before is what the one before it left. Returns what the last ones left.
fn chains_link_up(stored: &[Change]) -> Tables<'_> {
    let mut tables: Tables<'_> = HashMap::new();
    for change in stored {
        let table = tables.entry(&change.table).or_default();
        if change.operation == Operation::Truncate {
            table.clear();
        }
        if let Some(before) = &change.before {
            let was = table.remove(before.column("id").or(before.column("number")).expect("a key"));
            assert_eq!(was, Some(before), "the chain is broken: {change}");
        }
        if let Some(after) = &change.after
            && let Some(id) = after.column("id")
        {
            let was = table.insert(id, after);
            assert_eq!(was, None, "there already: {change}");
        }
    }
    tables
}

/// The end of the chains is what is in the tables of the source.
fn rows_are_what_the_chains_end_with(stage: &Stage, tables: &Tables<'_>) {
    for table in ["item", "bulk", "scratch"] {
        let query = format!("SELECT row_to_json(t)::text FROM {table} t");
        let rows = stage.ask(0, &query, &[]).expect("an answer");
        let empty = HashMap::new();
        let ends = tables.get(table).unwrap_or(&empty);
        assert_eq!(rows.len(), ends.len(), "rows of {table}");
        for row in rows {
            let row = row_of(row.get(0));
            assert_eq!(
                ends.get(row.column("id").expect("an id")),
                Some(&&row),
                "a row of {table}"
            );
        }
    }
}

/// Each transaction that a writer knows to be committed is there with as many changes as it made, and no other.
fn the_ledger_agrees(committed: &Committed, stored: &[Change]) {
    let mut counts: HashMap<i64, i64> = HashMap::new();
    for change in stored {
        *counts.entry(change.transaction).or_default() += 1;
    }
    let mut seen = 0;
    for change in stored.iter().filter(|change| change.table == "ledger") {
        let row = change.after.as_ref().expect("only inserted into");
        let number = |name| {
            row.column(name)
                .and_then(|text| text.parse::<i64>().ok())
                .expect("a number")
        };
        if number("writer") < 0 {
            continue;
        }
        seen += 1;
        let known = committed.transactions.get(&(number("writer"), number("number")));
        assert_eq!(
            known,
            Some(&number("changes")),
            "what the writer knows of it: {change}"
        );
        assert_eq!(
            counts[&change.transaction],
            number("changes"),
            "changes of its transaction: {change}"
        );
    }
    assert_eq!(seen, committed.transactions.len(), "committed transactions");
}
