//! Statements that set `bemi.context`, in all their forms.

use super::author::{Author, Statement, literal};
use super::script::Refusal;
use super::writes::EXPLAIN;

const INVALID: &[&str] = &["nonsense", "[1]", "12", "null", r#"{"a":"#, r#"{"a":1} x"#];

impl Author {
    /// SET and RESET.
    pub fn set(&mut self) -> Statement {
        let scope = self
            .dice
            .pick(&["", "", "SESSION ", "LOCAL ", "LOCAL ", "LOCAL "]);
        let sql = match self.dice.below(10) {
            0 => "RESET bemi.context".to_owned(),
            1 => format!("SET {scope}bemi.context TO DEFAULT"),
            2 => format!("SET {scope}bemi.context FROM CURRENT"),
            _ => {
                let name = self
                    .dice
                    .pick(&["bemi.context", "Bemi.Context", "\"bemi.context\""]);
                let equals = self.dice.pick(&["=", "TO"]);
                format!("SET {scope}{name} {equals} {}", literal(&self.context()))
            }
        };
        Statement::plain(sql)
    }

    /// Calls that run once.
    pub fn set_config(&mut self, bound: bool) -> Statement {
        let (value, is_null) = (self.context(), self.dice.chance(8));
        let local = self.dice.chance(50);
        if bound && self.dice.chance(50) {
            let value = (!is_null).then_some(value);
            if self.dice.chance(50) {
                return Statement {
                    parameters: vec![value],
                    ..Statement::plain(format!("SELECT set_config('bemi.context', $1, {local})"))
                };
            }
            let binary = self.dice.chance(40);
            let local = match binary {
                true => char::from(u8::from(local)).to_string(),
                false => local.to_string(),
            };
            return Statement {
                parameters: vec![Some("bemi.context".into()), value, Some(local)],
                binary,
                ..Statement::plain("SELECT set_config($1, $2, $3)")
            };
        }
        let value = if is_null {
            "NULL".to_owned()
        } else {
            literal(&value)
        };
        let n = self.next_context;
        Statement::plain(match self.dice.below(5) {
            0 if !is_null => format!("SELECT set_config('bemi.context', {value} || '', {local})"),
            1 => {
                format!("SELECT set_config('bemi.context', json_build_object('n', {n} * 100)::text, {local})")
            }
            2 => format!("SELECT pg_catalog.set_config('bemi.context', {value}::text, '{local}')"),
            _ => format!("SELECT set_config('bemi.context', {value}, {local})"),
        })
    }

    /// Calls that do not run once, or not with the value that they name.
    pub fn odd_set_config(&mut self) -> Statement {
        let (value, other) = (literal(&self.context()), literal(&self.context()));
        let local = self.dice.chance(50);
        let call = format!("set_config('bemi.context', {value}, {local})");
        Statement::plain(match self.dice.below(12) {
            0 => format!("SELECT {call} WHERE false"),
            1 => format!("SELECT {call} FROM t WHERE id < 0"),
            2 | 10 => format!(
                "SELECT set_config('bemi.context', '{{\"g\":' || g || '}}', {local}) FROM generate_series(1, 3) g"
            ),
            3 => format!("SELECT {call}, set_config('bemi.context', {other}, {local})"),
            4 => format!("{EXPLAIN} SELECT {call}"),
            5 => format!("EXPLAIN (COSTS OFF) SELECT {call}"),
            6 => format!("WITH c AS MATERIALIZED (SELECT {call}) SELECT 1"),
            7 => format!("SELECT length({call})"),
            8 => format!("SELECT set_config('bemi.' || 'context', {value}, {local})"),
            9 => format!("SELECT set_config('bemi.other', {value}, {local})"),
            _ => format!("SELECT CASE WHEN true THEN 'x' ELSE {call} END"),
        })
    }

    /// Values that are no context.
    pub fn invalid(&mut self, bound: bool) -> Statement {
        let value = self.dice.pick(INVALID);
        let local = self.dice.chance(50);
        let scope = if local { "LOCAL " } else { "" };
        let refused = |sql: String, refusal| Statement {
            refusal: Some(refusal),
            ..Statement::plain(sql)
        };
        let quoted = literal(value);
        match self.dice.below(6) {
            0 if bound => Statement {
                parameters: vec![Some(value.to_owned())],
                ..refused(
                    format!("SELECT set_config('bemi.context', $1, {local})"),
                    Refusal::Instead,
                )
            },
            1 => refused(
                format!("SELECT set_config('bemi.context', {quoted}, {local})"),
                Refusal::Instead,
            ),
            2 => refused(
                format!("SELECT set_config('bemi.context', {quoted} || '', {local})"),
                Refusal::Behind,
            ),
            3 => refused(
                format!("SELECT set_config('bemi.context', {quoted}, {local}) FROM generate_series(1, 2)"),
                Refusal::Behind,
            ),
            _ => refused(format!("SET {scope}bemi.context = {quoted}"), Refusal::Instead),
        }
    }
}
