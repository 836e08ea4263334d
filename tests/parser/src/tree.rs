//! What a statement does, read from its tree.

use bemi::sql::{SetValue, VARIABLE};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    self, CopyStmt, CreateTableAsStmt, DefElem, DiscardMode, ExplainStmt, Node, ObjectType, RangeVar,
    SelectStmt, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt, WithClause, a_const,
};

use crate::ours::{Verdict, execute, prepare, set};

/// The verdict on a statement; None where the grammar takes what the server then refuses: a change of data in a WITH
/// that is not of the top level, or an INTO that is not in the first SELECT.
pub fn judge(node: &NodeEnum) -> Option<Verdict> {
    let verdict = match node {
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_)
        | NodeEnum::SelectStmt(_) => return query(node),
        NodeEnum::CopyStmt(copy) => return self::copy(copy),
        NodeEnum::TruncateStmt(truncate) => Verdict {
            kind: "write".to_owned(),
            targets: truncate.relations.iter().filter_map(relation).collect(),
        },
        NodeEnum::CreateTableAsStmt(create) => return create_table_as(create),
        NodeEnum::ExplainStmt(explain) => return self::explain(explain),
        NodeEnum::CallStmt(_) | NodeEnum::DoStmt(_) => Verdict::of("write in a block"),
        NodeEnum::ExecuteStmt(statement) => Verdict::of(execute(&statement.name, false)),
        NodeEnum::PrepareStmt(statement) => {
            let inner = inside(&statement.query).and_then(query)?;
            Verdict::of(prepare(&statement.name, &inner))
        }
        NodeEnum::DeallocateStmt(statement) => {
            let name = (!statement.isall).then_some(&statement.name);
            Verdict::of(format!("deallocate {name:?}"))
        }
        NodeEnum::TransactionStmt(statement) => Verdict::of(transaction(statement)),
        NodeEnum::VariableSetStmt(statement) => Verdict::of(setting(statement)),
        NodeEnum::DiscardStmt(discard) if discard.target == DiscardMode::DiscardAll as i32 => {
            Verdict::of("discard all")
        }
        _ => Verdict::of("other"),
    };
    Some(verdict)
}

/// Whether what it says is run when it runs: not so for definitions, and for EXPLAIN without ANALYZE.
pub fn runs(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::ExplainStmt(explain) => analyzes(explain),
        NodeEnum::SelectStmt(_)
        | NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_)
        | NodeEnum::CopyStmt(_)
        | NodeEnum::CreateTableAsStmt(_)
        | NodeEnum::ExecuteStmt(_)
        | NodeEnum::CallStmt(_)
        | NodeEnum::DeclareCursorStmt(_) => true,
        _ => false,
    }
}

pub fn inside(node: &Option<Box<Node>>) -> Option<&NodeEnum> {
    node.as_ref()?.node.as_ref()
}

fn name(table: &RangeVar) -> String {
    if table.schemaname.is_empty() {
        table.relname.clone()
    } else {
        format!("{}.{}", table.schemaname, table.relname)
    }
}

fn relation(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::RangeVar(table)) => Some(name(table)),
        _ => None,
    }
}

/// What may stand in WITH, PREPARE and EXPLAIN.
fn query(node: &NodeEnum) -> Option<Verdict> {
    let mut targets = Vec::new();
    let (with, changed) = match node {
        NodeEnum::InsertStmt(statement) => (&statement.with_clause, &statement.relation),
        NodeEnum::UpdateStmt(statement) => (&statement.with_clause, &statement.relation),
        NodeEnum::DeleteStmt(statement) => (&statement.with_clause, &statement.relation),
        NodeEnum::MergeStmt(statement) => (&statement.with_clause, &statement.relation),
        NodeEnum::SelectStmt(select) => {
            if has_misplaced_parts(select, true) {
                return None;
            }
            (&select.with_clause, into(select))
        }
        _ => return Some(Verdict::of("other")),
    };
    targets.extend(with.iter().flat_map(changes).flatten());
    if with.as_ref().is_some_and(changes_deeper) {
        return None;
    }
    targets.extend(changed.as_ref().map(name));
    let kind = if targets.is_empty() { "other" } else { "write" };
    Some(Verdict {
        kind: kind.to_owned(),
        targets,
    })
}

/// The INTO that the server heeds: that of the first SELECT.
fn into(select: &SelectStmt) -> &Option<RangeVar> {
    match (&select.larg, &select.into_clause) {
        (Some(first), _) => into(first),
        (None, Some(clause)) => &clause.rel,
        (None, None) => &None,
    }
}

/// Whether one of several SELECT of a UNION has what only the whole may have.
fn has_misplaced_parts(select: &SelectStmt, is_first: bool) -> bool {
    let is_leaf = select.larg.is_none();
    (is_leaf && !is_first && select.into_clause.is_some())
        || select
            .larg
            .as_ref()
            .is_some_and(|first| changes_in_with(&first.with_clause) || has_misplaced_parts(first, is_first))
        || select
            .rarg
            .as_ref()
            .is_some_and(|second| changes_in_with(&second.with_clause) || has_misplaced_parts(second, false))
}

fn changes_in_with(with: &Option<WithClause>) -> bool {
    with.iter()
        .any(|with| changes(with).next().is_some() || changes_deeper(with))
}

fn bodies(with: &WithClause) -> impl Iterator<Item = &NodeEnum> {
    with.ctes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::CommonTableExpr(expression)) => inside(&expression.ctequery),
        _ => None,
    })
}

/// The tables that are changed in a WITH itself.
fn changes(with: &WithClause) -> impl Iterator<Item = Option<String>> {
    bodies(with).filter_map(|body| {
        let changed = match body {
            NodeEnum::InsertStmt(statement) => &statement.relation,
            NodeEnum::UpdateStmt(statement) => &statement.relation,
            NodeEnum::DeleteStmt(statement) => &statement.relation,
            NodeEnum::MergeStmt(statement) => &statement.relation,
            _ => return None,
        };
        Some(changed.as_ref().map(name))
    })
}

/// Whether a WITH of something in this WITH changes data.
fn changes_deeper(with: &WithClause) -> bool {
    bodies(with).any(|body| match body {
        NodeEnum::InsertStmt(statement) => changes_in_with(&statement.with_clause),
        NodeEnum::UpdateStmt(statement) => changes_in_with(&statement.with_clause),
        NodeEnum::DeleteStmt(statement) => changes_in_with(&statement.with_clause),
        NodeEnum::MergeStmt(statement) => changes_in_with(&statement.with_clause),
        NodeEnum::SelectStmt(select) => {
            changes_in_with(&select.with_clause) || has_misplaced_parts(select, true)
        }
        _ => false,
    })
}

fn copy(copy: &CopyStmt) -> Option<Verdict> {
    if let Some(copied) = inside(&copy.query) {
        return query(copied);
    }
    if !copy.is_from {
        return Some(Verdict::of("other"));
    }
    Some(Verdict {
        kind: "write".to_owned(),
        targets: copy.relation.iter().map(name).collect(),
    })
}

fn create_table_as(create: &CreateTableAsStmt) -> Option<Verdict> {
    if create.objtype != ObjectType::ObjectTable as i32 {
        return Some(Verdict::of("other"));
    }
    let made = create.into.as_ref().and_then(|into| into.rel.as_ref()).map(name);
    let inner = inside(&create.query)?;
    let (kind, changed) = match inner {
        NodeEnum::ExecuteStmt(statement) => (execute(&statement.name, true), Vec::new()),
        _ => ("write".to_owned(), query(inner)?.targets),
    };
    Some(Verdict {
        kind,
        targets: made.into_iter().chain(changed).collect(),
    })
}

fn explain(explain: &ExplainStmt) -> Option<Verdict> {
    let explained = inside(&explain.query)?;
    if analyzes(explain) {
        judge(explained)
    } else {
        Some(Verdict::of("other"))
    }
}

/// The last option ANALYZE counts.
fn analyzes(explain: &ExplainStmt) -> bool {
    let mut options = explain.options.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "analyze" => Some(is_true(option)),
        _ => None,
    });
    options.next_back().unwrap_or(false)
}

/// `defGetBoolean`; what is no boolean is an error of the server, whatever stands here.
fn is_true(option: &DefElem) -> bool {
    match inside(&option.arg) {
        Some(NodeEnum::Integer(number)) => number.ival != 0,
        Some(NodeEnum::String(text)) => !["false", "off", "0"]
            .iter()
            .any(|off| text.sval.eq_ignore_ascii_case(off)),
        Some(NodeEnum::Boolean(truth)) => truth.boolval,
        _ => true,
    }
}

fn transaction(statement: &TransactionStmt) -> String {
    use TransactionStmtKind as Of;
    let name = &statement.savepoint_name;
    match Of::try_from(statement.kind) {
        Ok(Of::TransStmtBegin | Of::TransStmtStart) => "begin".to_owned(),
        Ok(Of::TransStmtCommit) => format!("commit, chain {}", statement.chain),
        Ok(Of::TransStmtRollback) => format!("rollback, chain {}", statement.chain),
        Ok(Of::TransStmtSavepoint) => format!("savepoint {name}"),
        Ok(Of::TransStmtRelease) => format!("release {name}"),
        Ok(Of::TransStmtRollbackTo) => format!("rollback to {name}"),
        Ok(Of::TransStmtPrepare) => "prepare transaction".to_owned(),
        _ => "other".to_owned(),
    }
}

fn setting(statement: &VariableSetStmt) -> String {
    let kind = VariableSetKind::try_from(statement.kind);
    if kind == Ok(VariableSetKind::VarResetAll) {
        return "reset all".to_owned();
    }
    if !statement.name.eq_ignore_ascii_case(VARIABLE) {
        return "other".to_owned();
    }
    let value = match kind {
        Ok(VariableSetKind::VarSetValue) => match statement.args.as_slice() {
            [value] => constant(value).map(SetValue::Value),
            // Several are an error of the server.
            _ => None,
        },
        Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => Some(SetValue::Default),
        Ok(VariableSetKind::VarSetCurrent) => Some(SetValue::Current),
        _ => None,
    };
    value.map_or("other".to_owned(), |value| set(statement.is_local, &value))
}

fn constant(node: &Node) -> Option<String> {
    let Some(NodeEnum::AConst(constant)) = &node.node else {
        return None;
    };
    match constant.val.as_ref()? {
        a_const::Val::Ival(protobuf::Integer { ival }) => Some(ival.to_string()),
        a_const::Val::Fval(protobuf::Float { fval }) => Some(fval.clone()),
        a_const::Val::Sval(protobuf::String { sval }) => Some(sval.clone()),
        a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
    }
}
