//! The statements that begin and end transactions and savepoints.

use crate::sql::Kind;
use crate::sql::cursor::Cursor;

/// BEGIN, COMMIT, SAVEPOINT and their like; None if it is something else.
pub fn transaction(mut cursor: Cursor<'_>) -> Option<Kind> {
    if cursor.eat("begin") {
        return Some(Kind::Begin);
    }
    if cursor.eat("start") {
        return cursor.at("transaction").then_some(Kind::Begin);
    }
    if cursor.eat_one_of(&["commit", "end"]) {
        return end(cursor).map(|chain| Kind::Commit { chain });
    }
    if cursor.eat("abort") {
        return end(cursor).map(|chain| Kind::Rollback { chain });
    }
    if cursor.eat("rollback") {
        return rollback(cursor);
    }
    if cursor.eat("savepoint") {
        return cursor.name().map(Kind::Savepoint);
    }
    if cursor.eat("release") {
        return savepoint_name(cursor).map(Kind::Release);
    }
    if cursor.eat("prepare") {
        return (cursor.eat("transaction") && cursor.at_string()).then_some(Kind::PrepareTransaction);
    }
    None
}

fn rollback(mut cursor: Cursor<'_>) -> Option<Kind> {
    let mut behind = cursor;
    behind.eat_one_of(&["work", "transaction"]);
    if behind.eat("to") {
        return savepoint_name(behind).map(Kind::RollbackTo);
    }
    if cursor.eat("prepared") {
        return None;
    }
    end(cursor).map(|chain| Kind::Rollback { chain })
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`: whether to chain. None for COMMIT PREPARED and nonsense.
fn end(mut cursor: Cursor<'_>) -> Option<bool> {
    cursor.eat_one_of(&["work", "transaction"]);
    let chain = cursor.eat("and") && !cursor.eat("no");
    cursor.eat("chain");
    cursor.at_end().then_some(chain)
}

/// `[SAVEPOINT] name`, where the name may be savepoint.
fn savepoint_name(mut cursor: Cursor<'_>) -> Option<String> {
    if cursor.at("savepoint") && cursor.next().at_name() {
        cursor.advance();
    }
    cursor.name()
}
