//! What the proxy knows of a SQL text, once for all connections: the analysis, and what follows from it alone.

use std::sync::{Arc, OnceLock};

use super::refusal::Refusal;
use crate::config::SqlText;
use crate::context::{Context, Effect, Scope, Value, write_json_string};
use crate::sql::{self, Analysis, Arg, Dialect, Kind, Rules, SetConfig, SetValue, Statement, VARIABLE};

/// A text with its analysis.
#[derive(Debug)]
pub struct Verdict {
    text: Box<[u8]>,
    dialect: Dialect,
    analysis: Analysis,
    facts: Box<[Facts]>,
    is_plain: bool,
}

/// What follows from a statement's text alone.
#[derive(Debug)]
struct Facts {
    comment: Option<Context>,
    /// Of what a PREPARE prepares.
    inner_comment: Option<Context>,
    assignment: Option<Assignment>,
    sql: OnceLock<Box<[u8]>>,
}

/// What a statement does to `bemi.context`.
#[derive(Debug, Clone, PartialEq)]
pub enum Assignment {
    /// It gives it this value.
    Set(Scope, Value),
    /// It gives it the value it has, for this long: SET .. FROM CURRENT.
    Keep(Scope),
    /// It gives it the value of the session's start.
    Reset(Scope),
    /// It must not succeed.
    Refused(Refusal),
    /// Only the server can tell.
    Ask(Question),
    /// It depends on parameters.
    Bound(SetConfig),
}

/// What only the server can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The value that it gives to the setting, for this long.
    Value(Scope),
    /// Whether it sets the setting at all, to what, and, where that is not known either, for how long.
    Whether(Option<Scope>),
}

impl Question {
    /// The same of a statement that may have run to its end before.
    pub fn again(self) -> Self {
        match self {
            Self::Value(scope) => Self::Whether(Some(scope)),
            Self::Whether(scope) => Self::Whether(scope),
        }
    }
}

impl Assignment {
    /// What follows from its success, where that is known without the server.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Self::Set(scope, value) => Some(Effect::Set(*scope, value.clone())),
            Self::Keep(scope) => Some(Effect::Keep(*scope)),
            Self::Reset(scope) => Some(Effect::Reset(*scope)),
            Self::Refused(_) | Self::Ask(_) | Self::Bound(_) => None,
        }
    }
}

impl Verdict {
    /// Analyzes a text.
    pub fn new(text: &[u8], dialect: Dialect, rules: &Rules) -> Self {
        let analysis = sql::analyze(text, dialect, rules);
        let facts: Box<[Facts]> = analysis.statements.iter().map(|s| Facts::new(s, rules)).collect();
        let is_plain = !analysis.mentions_prepared_statements
            && !analysis.may_change_dialect
            && analysis
                .statements
                .iter()
                .all(|s| s.kind == Kind::Other && s.problems.is_empty() && s.set_config.is_none());
        Self {
            text: text.into(),
            dialect,
            analysis,
            facts,
            is_plain,
        }
    }

    /// Bytes it occupies, roughly.
    pub fn weight(&self) -> usize {
        self.text.len() * 2 + self.analysis.statements.len() * (size_of::<Statement>() + size_of::<Facts>())
    }

    /// Whether this is the verdict on that text.
    pub fn is_for(&self, text: &[u8], dialect: Dialect) -> bool {
        *self.text == *text && self.dialect == dialect
    }

    /// Whether nothing in it ever concerns the proxy.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether later texts may have to be read differently because of it.
    pub fn may_change_dialect(&self) -> bool {
        self.analysis.may_change_dialect
    }

    /// Whether one of its statements is a write, here or elsewhere.
    pub fn may_write(&self) -> bool {
        let is_candidate =
            |kind: &Kind| matches!(kind, Kind::Write | Kind::BlockOnlyWrite | Kind::Execute { .. });
        self.statements()
            .iter()
            .any(|statement| is_candidate(&statement.kind))
    }

    /// Whether one of its statements may end a transaction.
    pub fn may_end_transaction(&self) -> bool {
        let ends = |kind: &Kind| {
            matches!(
                kind,
                Kind::Commit { .. } | Kind::Rollback { .. } | Kind::PrepareTransaction
            )
        };
        self.statements().iter().any(|statement| ends(&statement.kind))
    }

    /// Whether it reads the view that lists prepared statements, ours among them.
    pub fn mentions_prepared_statements(&self) -> bool {
        self.analysis.mentions_prepared_statements
    }

    /// The statements.
    pub fn statements(&self) -> &[Statement] {
        &self.analysis.statements
    }

    /// The only statement of a text for the extended protocol, which takes no other.
    pub fn only_statement(&self) -> Option<&Statement> {
        match self.statements() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The context of a statement's comments.
    pub fn comment(&self, index: usize) -> Option<&Context> {
        self.facts.get(index)?.comment.as_ref()
    }

    /// The context of the comments in what a PREPARE prepares.
    pub fn inner_comment(&self, index: usize) -> Option<&Context> {
        self.facts.get(index)?.inner_comment.as_ref()
    }

    /// What a statement does to `bemi.context`.
    pub fn assignment(&self, index: usize) -> Option<&Assignment> {
        self.facts.get(index)?.assignment.as_ref()
    }

    /// The statement as a JSON string, for the payload.
    pub fn sql(&self, index: usize, mode: SqlText, max_bytes: usize) -> Option<&[u8]> {
        let (facts, statement) = (self.facts.get(index)?, self.statements().get(index)?);
        let body = self.text.get(statement.body.clone())?;
        let has_code = statement.kind == Kind::BlockOnlyWrite;
        let shown = |body: &[u8]| {
            let shown = self.shown(body, max_bytes);
            if has_code { without_quotes(&shown) } else { shown }
        };
        match mode {
            SqlText::Off => None,
            SqlText::Full => Some(facts.sql.get_or_init(|| shown(body))),
            SqlText::Normalized => Some(
                facts
                    .sql
                    .get_or_init(|| shown(&sql::normalize(body, self.dialect))),
            ),
        }
    }

    fn shown(&self, sql: &[u8], max_bytes: usize) -> Box<[u8]> {
        let text = self.dialect.encoding.decode(sql);
        let end = text.floor_char_boundary(max_bytes);
        let mut out = Vec::with_capacity(end + end / 8 + 2);
        write_json_string(&mut out, &text[..end]);
        out.into()
    }
}

impl Facts {
    fn new(statement: &Statement, rules: &Rules) -> Self {
        let context = |statement: &Statement| statement.context.clone().map(Context::new);
        let inner_comment = match &statement.kind {
            Kind::Prepare { inner, .. } => context(inner),
            _ => None,
        };
        Self {
            comment: context(statement),
            inner_comment,
            assignment: assignment(statement, rules.max_context_bytes),
            sql: OnceLock::new(),
        }
    }
}

/// The JSON string of a DO, with nothing in it that could be taken for the start of its code. To say where in the code an
/// error is, the server looks for the code behind a quote of either kind, in the whole Query, and says less where it
/// finds it twice (`match_prosrc_to_query` in pg_proc.c).
fn without_quotes(json: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(json.len() + 32);
    for &byte in json {
        match byte {
            b'\'' => out.extend_from_slice(br"\u0027"),
            b'$' => out.extend_from_slice(br"\u0024"),
            _ => out.push(byte),
        }
    }
    out.into()
}

fn assignment(statement: &Statement, max_bytes: usize) -> Option<Assignment> {
    match &statement.kind {
        Kind::Set { local, value } => {
            let scope = scope_of(*local);
            Some(match value {
                SetValue::Default => Assignment::Reset(scope),
                SetValue::Current => Assignment::Keep(scope),
                SetValue::Value(text) => assign(scope, text, max_bytes),
            })
        }
        _ => match statement.set_config.clone()? {
            call if uses_parameters(&call) => Some(Assignment::Bound(call)),
            call => resolve(&call, max_bytes, |_| BoundArg::Unknown),
        },
    }
}

fn uses_parameters(call: &SetConfig) -> bool {
    [&call.name, &call.value, &call.is_local]
        .into_iter()
        .any(|arg| matches!(arg, Arg::Param(_)))
}

fn scope_of(local: bool) -> Scope {
    if local { Scope::Local } else { Scope::Session }
}

fn assign(scope: Scope, text: &str, max_bytes: usize) -> Assignment {
    match Context::parse(text, max_bytes) {
        Ok(context) => Assignment::Set(scope, Value::Known(context.map(Arc::new))),
        Err(why) => Assignment::Refused(Refusal::invalid(&why)),
    }
}

/// An argument of `set_config` once its parameter is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundArg {
    Text(String),
    Null,
    /// An expression, or a parameter that could not be read.
    Unknown,
}

/// What a call of `set_config` does, given its parameters; `None` when it is about another setting.
///
/// NULL for the value means the default, NULL for `is_local` means false (`set_config_by_name` in `guc_funcs.c`).
pub fn resolve(call: &SetConfig, max_bytes: usize, bound: impl Fn(u16) -> BoundArg) -> Option<Assignment> {
    let value_of = |arg: &Arg| match arg {
        Arg::Literal(text) => BoundArg::Text(text.clone()),
        Arg::Null => BoundArg::Null,
        Arg::Param(number) => bound(*number),
        Arg::Expression => BoundArg::Unknown,
    };
    match value_of(&call.name) {
        BoundArg::Text(name) if !name.eq_ignore_ascii_case(VARIABLE) => return None,
        BoundArg::Null => return None,
        BoundArg::Text(_) | BoundArg::Unknown => {}
    }
    let name_is_known = !matches!(value_of(&call.name), BoundArg::Unknown);
    let scope = match value_of(&call.is_local) {
        BoundArg::Null => Some(Scope::Session),
        BoundArg::Text(text) => parse_bool(&text).map(scope_of),
        BoundArg::Unknown => None,
    };
    match (scope, value_of(&call.value)) {
        (Some(scope), BoundArg::Text(text)) if call.exactly_once && name_is_known => {
            Some(assign(scope, &text, max_bytes))
        }
        (Some(scope), BoundArg::Null) if call.exactly_once && name_is_known => Some(Assignment::Reset(scope)),
        (Some(scope), _) if call.exactly_once && name_is_known => {
            Some(Assignment::Ask(Question::Value(scope)))
        }
        (scope, _) => Some(Assignment::Ask(Question::Whether(scope))),
    }
}

/// A boolean as the server reads it: any unambiguous prefix of these words (`parse_bool_with_len` in `bool.c`).
fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    let is_prefix_of = |words: &[&str]| words.iter().any(|word| word.starts_with(&text));
    match text.as_str() {
        "on" | "1" => Some(true),
        "of" | "off" | "0" => Some(false),
        "o" => None,
        _ if is_prefix_of(&["true", "yes"]) => Some(true),
        _ if is_prefix_of(&["false", "no"]) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_the_server_reads_them() {
        for (text, value) in [
            ("t", Some(true)),
            ("TRUE", Some(true)),
            ("y", Some(true)),
            ("on", Some(true)),
            ("1", Some(true)),
            ("f", Some(false)),
            ("no", Some(false)),
            ("of", Some(false)),
            ("o", None),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(parse_bool(text), value, "{text}");
        }
    }

    #[test]
    fn the_code_of_a_do_stands_behind_no_quote_in_its_message() {
        let text = b"DO $a$ BEGIN 'x' END $a$";
        let verdict = Verdict::new(text, Dialect::default(), &Rules::default());
        let sql = verdict.sql(0, SqlText::Full, 1000).expect("a text");
        assert!(
            !sql.contains(&b'$') && !sql.contains(&b'\''),
            "{}",
            sql.escape_ascii()
        );
        let read: String = serde_json::from_slice(sql).expect("JSON");
        assert_eq!(read.as_bytes(), text);
    }

    fn call(value: Arg, is_local: Arg) -> SetConfig {
        SetConfig {
            name: Arg::Literal(VARIABLE.into()),
            value,
            is_local,
            exactly_once: true,
        }
    }

    #[test]
    fn a_bound_value_is_known_before_the_server_sees_it() {
        let call = call(Arg::Param(1), Arg::Literal("true".into()));
        let bound = |_| BoundArg::Text(r#"{"a":1}"#.into());
        assert!(matches!(
            resolve(&call, 100, bound),
            Some(Assignment::Set(Scope::Local, Value::Known(Some(_))))
        ));
        let bound = |_| BoundArg::Text("nonsense".into());
        assert!(matches!(resolve(&call, 100, bound), Some(Assignment::Refused(_))));
        assert_eq!(
            resolve(&call, 100, |_| BoundArg::Null),
            Some(Assignment::Reset(Scope::Local))
        );
    }

    #[test]
    fn an_expression_is_asked_for() {
        let call = call(Arg::Expression, Arg::Literal("false".into()));
        assert_eq!(
            resolve(&call, 100, |_| BoundArg::Unknown),
            Some(Assignment::Ask(Question::Value(Scope::Session)))
        );
    }

    #[test]
    fn another_setting_is_none_of_our_business() {
        let mut call = call(Arg::Param(2), Arg::Null);
        call.name = Arg::Param(1);
        assert_eq!(resolve(&call, 100, |_| BoundArg::Text("work_mem".into())), None);
    }
}
