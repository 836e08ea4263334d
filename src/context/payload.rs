//! The message's content: contexts merged key by key, and the statement as `SQL`.

use super::json;
use super::object::{Context, Entries};

/// The key under which the statement stands, unless a context has that key itself.
pub const SQL_KEY: &str = "SQL";

/// The payload that takes back what earlier messages of a transaction said.
pub const NOTHING: &[u8] = b"{}";

/// Merges the layers that there are, the later ones over the earlier ones, and adds the statement's text.
///
/// `sql` is a JSON string, quotes included, or `None` to leave the statement out.
/// The common case, one layer with members and no `SQL` of its own, is a copy.
pub fn build(layers: &[Option<&Context>], sql: Option<&[u8]>) -> Vec<u8> {
    let mut said = layers.iter().flatten().filter(|layer| !layer.is_empty());
    let (first, second) = (said.next(), said.next());
    match (first, second) {
        (Some(only), None) => assemble(only, sql),
        (None, _) => assemble(&Context::default(), sql),
        (Some(_), Some(_)) => assemble(&merge(layers), sql),
    }
}

/// All layers that there are in one, the later ones over the earlier ones.
pub fn merge(layers: &[Option<&Context>]) -> Context {
    let mut merged = Entries::new();
    for layer in layers.iter().flatten() {
        for (key, value) in layer.entries() {
            merged.insert(key.clone(), value.clone());
        }
    }
    Context::new(merged)
}

fn assemble(context: &Context, sql: Option<&[u8]>) -> Vec<u8> {
    let sql = sql.filter(|_| !context.entries().contains_key(SQL_KEY));
    let members = context.members();
    let mut out = Vec::with_capacity(members.len() + sql.map_or(0, <[u8]>::len) + 16);
    out.push(b'{');
    out.extend_from_slice(members);
    if let Some(sql) = sql {
        if !members.is_empty() {
            out.push(b',');
        }
        json::write_string(&mut out, SQL_KEY);
        out.push(b':');
        out.extend_from_slice(sql);
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(text: &str) -> Context {
        Context::parse(text, 1000).unwrap().unwrap_or_default()
    }

    fn built(layers: &[&str], sql: Option<&str>) -> String {
        let layers: Vec<Context> = layers.iter().map(|text| context(text)).collect();
        let layers: Vec<Option<&Context>> = layers.iter().map(Some).collect();
        String::from_utf8(build(&layers, sql.map(str::as_bytes))).unwrap()
    }

    #[test]
    fn later_layers_override_key_by_key() {
        assert_eq!(
            built(&[r#"{"a":1,"b":1}"#, r#"{"b":2}"#, r#"{"c":3}"#], Some("\"q\"")),
            r#"{"a":1,"b":2,"c":3,"SQL":"q"}"#
        );
    }

    #[test]
    fn the_statement_stands_last_unless_the_context_has_its_own() {
        assert_eq!(built(&[r#"{"a":1}"#], Some("\"q\"")), r#"{"a":1,"SQL":"q"}"#);
        assert_eq!(built(&[r#"{"SQL":"mine"}"#], Some("\"q\"")), r#"{"SQL":"mine"}"#);
        assert_eq!(built(&["{}"], Some("\"q\"")), r#"{"SQL":"q"}"#);
        assert_eq!(built(&[r#"{"a":1}"#, "{}"], None), r#"{"a":1}"#);
    }
}
