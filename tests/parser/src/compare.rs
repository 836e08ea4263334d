//! Both opinions on one text, side by side.

use bemi::sql::{Analysis, Dialect, Kind, Rules, Statement, analyze};
use pg_query::NodeEnum;
use pg_query::protobuf::{RawStmt, ScanToken};

use crate::ours::verdict;
use crate::walk::{Findings, check_set_config, walk};
use crate::{parser, scanner, tree};

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreed {
    /// Whether the server's grammar takes the text; if not, only tokens were compared, if even these.
    pub is_parsed: bool,
    /// Whether the server's scanner takes the text.
    pub is_scanned: bool,
    pub statements: usize,
    /// Those that the server refuses after parsing, whose kinds mean nothing.
    pub refused_later: usize,
    pub writes: usize,
    /// Those of which less was told than could be.
    pub vague: usize,
}

/// Compares all that is told of a text. `markers` comments with context were put into it.
pub fn compare(text: &str, standard_conforming_strings: bool, markers: usize) -> Result<Agreed, String> {
    let dialect = Dialect {
        standard_conforming_strings,
        ..Dialect::default()
    };
    let analysis = analyze(text.as_bytes(), dialect, &Rules::default());
    let mut agreed = Agreed::default();
    // The scanner can only be asked by the new rules.
    let tokens = if standard_conforming_strings {
        scanner::tokens(text)
    } else {
        None
    };
    if let Some(tokens) = &tokens {
        agreed.is_scanned = true;
        scanner::check_normal(text, tokens)?;
    }
    let Some(trees) = parser::parse(text, standard_conforming_strings) else {
        return Ok(agreed);
    };
    agreed.is_parsed = true;
    if trees.len() != analysis.statements.len() {
        let ours = analysis
            .statements
            .iter()
            .map(|statement| text.get(statement.range.clone()));
        return Err(format!(
            "{} statements instead of {}: {:?}",
            analysis.statements.len(),
            trees.len(),
            ours.collect::<Vec<_>>()
        ));
    }
    for (statement, tree) in analysis.statements.iter().zip(&trees) {
        check_range(text, statement, tree, tokens.as_deref())?;
        let Some(node) = tree.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
            continue;
        };
        agreed.statements += 1;
        check_statement(statement, node, &analysis, &mut agreed)?;
    }
    if let Some(tokens) = &tokens {
        scanner::check_markers(text, tokens, &analysis, markers)?;
    }
    Ok(agreed)
}

/// The server tells where a statement ends, and where it or the white space before it starts.
fn check_range(
    text: &str,
    ours: &Statement,
    tree: &RawStmt,
    tokens: Option<&[ScanToken]>,
) -> Result<(), String> {
    let start = tree.stmt_location as usize;
    let end = match tree.stmt_len {
        0 => text.len(),
        len => start + len as usize,
    };
    let same_start = match tokens {
        Some(tokens) => {
            scanner::first_token(tokens, ours.range.start, ours.range.end)
                == scanner::first_token(tokens, start, end)
        }
        None => ours.range.start <= start,
    };
    if same_start && ours.range.end == end {
        Ok(())
    } else {
        Err(format!("bytes {:?} instead of {:?}", ours.range, start..end))
    }
}

fn check_statement(
    ours: &Statement,
    node: &NodeEnum,
    analysis: &Analysis,
    agreed: &mut Agreed,
) -> Result<(), String> {
    match tree::judge(node) {
        None => agreed.refused_later += 1,
        Some(expected) => {
            let told = verdict(ours);
            if told != expected {
                return Err(format!("{told:?} instead of {expected:?}"));
            }
            agreed.writes += usize::from(told.kind == "write");
        }
    }
    let findings = walk(node);
    let mentions_prepared = findings
        .tables
        .iter()
        .any(|table| table == "pg_prepared_statements")
        || findings
            .calls
            .iter()
            .any(|call| call.is_of("pg_prepared_statement"));
    if mentions_prepared && !analysis.mentions_prepared_statements {
        return Err("it reads pg_prepared_statements, which was not seen".to_owned());
    }
    if changes_dialect(node, &findings) && !analysis.may_change_dialect {
        return Err("it changes how texts are read, which was not seen".to_owned());
    }
    if tree::runs(node) {
        agreed.vague += usize::from(check_set_config(node, &findings, ours.set_config.as_ref())?);
    }
    if let (Kind::Prepare { inner, .. }, NodeEnum::PrepareStmt(prepare)) = (&ours.kind, node) {
        let prepared = tree::inside(&prepare.query).ok_or("PREPARE of nothing")?;
        agreed.vague += usize::from(check_set_config(
            prepared,
            &walk(prepared),
            inner.set_config.as_ref(),
        )?);
    }
    Ok(())
}

fn changes_dialect(node: &NodeEnum, findings: &Findings) -> bool {
    let is_dialect = |name: &str| {
        ["client_encoding", "standard_conforming_strings"]
            .iter()
            .any(|setting| name.eq_ignore_ascii_case(setting))
    };
    if let NodeEnum::VariableSetStmt(set) = node {
        return is_dialect(&set.name);
    }
    findings
        .calls
        .iter()
        .filter(|call| call.is_of("set_config"))
        .any(|call| {
            let name = call
                .args
                .first()
                .map(|name| &name["node"]["AConst"]["val"]["Sval"]["sval"]);
            name.and_then(|name| name.as_str()).is_some_and(is_dialect)
        })
}
