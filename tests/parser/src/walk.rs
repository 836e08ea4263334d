//! What a tree holds anywhere: calls of functions and names of tables, found in its serialised form.

use bemi::sql::{Arg, SetConfig, VARIABLE};
use pg_query::NodeEnum;
use serde_json::Value as Json;

/// A call of a function.
pub struct Call {
    pub schema: Option<String>,
    pub name: String,
    pub args: Vec<Json>,
    /// Whether it has an ORDER BY, as for an aggregate.
    pub is_ordered: bool,
}

/// What is worth knowing about all of a statement.
#[derive(Default)]
pub struct Findings {
    pub calls: Vec<Call>,
    pub tables: Vec<String>,
    pub types: Vec<String>,
}

pub fn walk(node: &NodeEnum) -> Findings {
    let tree = serde_json::to_value(node).expect("a tree is JSON");
    let mut findings = Findings::default();
    visit(&tree, &mut findings);
    findings
}

fn visit(value: &Json, findings: &mut Findings) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| visit(item, findings)),
        Json::Object(members) => {
            for (key, member) in members {
                match key.as_str() {
                    "FuncCall" => findings.calls.extend(call(member)),
                    "type_name" => findings.types.extend(last_name(&member["names"])),
                    "relname" => findings.tables.extend(member.as_str().map(str::to_owned)),
                    _ => (),
                }
                visit(member, findings);
            }
        }
        _ => (),
    }
}

fn call(call: &Json) -> Option<Call> {
    let mut names: Vec<_> = call["funcname"]
        .as_array()?
        .iter()
        .filter_map(|name| name["node"]["String"]["sval"].as_str().map(str::to_owned))
        .collect();
    let name = names.pop()?;
    Some(Call {
        schema: names.pop(),
        name,
        args: call["args"].as_array()?.clone(),
        is_ordered: call["agg_order"]
            .as_array()
            .is_some_and(|order| !order.is_empty()),
    })
}

impl Findings {
    /// Whether something looks like a call of `set_config` that the server would refuse: `set_config(..) 'x'`, which is a
    /// literal of a type with that name, or a call with other arguments.
    fn is_odd(&self) -> bool {
        let is_odd_call = |call: &Call| call.is_of("set_config") && (call.args.len() != 3 || call.is_ordered);
        self.types.iter().any(|name| name == "set_config") || self.calls.iter().any(is_odd_call)
    }
}

impl Call {
    /// Whether this may be a function of the server.
    pub fn is_of(&self, name: &str) -> bool {
        self.name == name && self.schema.as_ref().is_none_or(|schema| schema == "pg_catalog")
    }

    /// Its arguments, if this is a call of `set_config` that may touch the variable.
    fn touches(&self) -> Option<[Arg; 3]> {
        let [name, value, is_local] = self.args.as_slice() else {
            return None;
        };
        if !self.is_of("set_config") {
            return None;
        }
        let name = match argument(name) {
            Arg::Literal(name) => Arg::Literal(name.to_ascii_lowercase()),
            other => other,
        };
        let may_touch = match &name {
            Arg::Literal(name) => name == VARIABLE,
            Arg::Null => false,
            Arg::Param(_) | Arg::Expression => true,
        };
        may_touch.then(|| [name, argument(value), truth(argument(is_local))])
    }
}

fn argument(node: &Json) -> Arg {
    let node = &node["node"];
    if let Some(constant) = node.get("AConst") {
        if constant["isnull"] == true {
            return Arg::Null;
        }
        let value = &constant["val"];
        return if let Some(text) = value["Sval"]["sval"].as_str() {
            Arg::Literal(text.to_owned())
        } else if let Some(truth) = value["Boolval"]["boolval"].as_bool() {
            Arg::Literal(truth.to_string())
        } else {
            Arg::Expression
        };
    }
    if let Some(number) = node["ParamRef"]["number"].as_u64() {
        return u16::try_from(number).map_or(Arg::Expression, Arg::Param);
    }
    match node.get("TypeCast") {
        Some(cast) if keeps_text(&cast["type_name"]) => argument(&cast["arg"]),
        _ => Arg::Expression,
    }
}

fn keeps_text(type_name: &Json) -> bool {
    let is_empty = |list: &str| type_name[list].as_array().is_none_or(Vec::is_empty);
    let last = last_name(&type_name["names"]);
    is_empty("typmods")
        && is_empty("array_bounds")
        && last.is_some_and(|last| ["text", "varchar", "json", "bool"].contains(&last.as_str()))
}

/// The name itself, of a name with a schema.
fn last_name(names: &Json) -> Option<String> {
    let last = names.as_array()?.last()?;
    Some(last["node"]["String"]["sval"].as_str()?.to_owned())
}

/// Holds what was said of calls of `set_config` against those that the tree has. That an argument is an expression may
/// always be said, as the server is asked then; returns whether that was said of more than it had to be.
pub fn check_set_config(
    node: &NodeEnum,
    findings: &Findings,
    ours: Option<&SetConfig>,
) -> Result<bool, String> {
    let calls: Vec<_> = findings.calls.iter().filter_map(Call::touches).collect();
    let Some(ours) = ours else {
        return if calls.is_empty() {
            Ok(false)
        } else {
            Err(format!("set_config was not seen: {calls:?}"))
        };
    };
    let said = [&ours.name, &ours.value, &ours.is_local];
    let agrees = |ours: &Arg, tree: &Arg| ours == tree || *ours == Arg::Expression;
    let all_agree = calls
        .iter()
        .all(|call| said.into_iter().zip(call).all(|(ours, tree)| agrees(ours, tree)));
    if !all_agree {
        return Err(format!("{ours:?}, while the tree has {calls:?}"));
    }
    let is_odd = findings.is_odd();
    if calls.is_empty() && !is_odd && ours.name != Arg::Expression {
        return Err(format!("{ours:?}, while the tree has no such call"));
    }
    if ours.exactly_once && !calls.is_empty() && !runs_exactly_once(node, calls.len()) {
        return Err("it may not run exactly once".to_owned());
    }
    let is_exact = matches!(calls.as_slice(), [call] if said.into_iter().eq(call));
    Ok(!is_exact && calls.len() < 2 && !is_odd)
}

/// What the third argument is told to be: a boolean, and NULL is false.
fn truth(arg: Arg) -> Arg {
    let text = match arg {
        Arg::Literal(text) => text.trim_ascii().to_ascii_lowercase(),
        Arg::Null => return Arg::Literal("false".to_owned()),
        other => return other,
    };
    let is = |words: &[&str]| words.contains(&text.as_str());
    if is(&["t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"]) {
        Arg::Literal("true".to_owned())
    } else if is(&["f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"]) {
        Arg::Literal("false".to_owned())
    } else {
        Arg::Expression
    }
}

/// A SELECT of nothing but a list, without a function in it that may return several rows.
fn runs_exactly_once(node: &NodeEnum, calls: usize) -> bool {
    let NodeEnum::SelectStmt(select) = node else {
        return false;
    };
    select.larg.is_none()
        && select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.distinct_clause.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.with_clause.is_none()
        && select.into_clause.is_none()
        && !select.target_list.is_empty()
        && calls == 1
}
