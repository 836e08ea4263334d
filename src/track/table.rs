//! A table as the stream describes it, with what catalog and rules add. Pure.

use super::copy;
use super::kind::{Kind, Types};
use super::rules::Rules;
use crate::config::Redaction;
use crate::replication::pgoutput::{Relation, ReplicaIdentity};

/// What the catalog says of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// The names of the primary key's columns, in its order; empty: it has none.
    pub primary_key: Vec<Vec<u8>>,
    /// Schema and name of the partitioned table that it is a part of.
    pub root: Option<(String, String)>,
}

/// What every row of a table is written with.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its schema, for COPY.
    pub schema: Vec<u8>,
    /// Its name, for COPY.
    pub name: Vec<u8>,
    /// What the log tells of old rows.
    pub identity: ReplicaIdentity,
    /// In the order of the stream.
    pub columns: Vec<Column>,
    /// The columns of the primary key, as places in `columns`, in the key's order; empty: there is none, or it has a
    /// column that the stream leaves out.
    pub primary_key: Vec<usize>,
    /// Whether its changes are stored.
    pub is_wanted: bool,
    /// Whether an update of some of its columns alone counts for nothing.
    pub ignores_some: bool,
}

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name as a JSON string, for COPY.
    pub name: Vec<u8>,
    /// Part of the replica identity.
    pub is_key: bool,
    /// What its type makes of its values.
    pub kind: Kind,
    /// What becomes of them.
    pub redaction: Option<Redaction>,
    /// Whether an update of it alone counts for nothing.
    pub is_ignored: bool,
}

impl Table {
    /// `facts` are `None` where the table is gone; then an identity of [`ReplicaIdentity::Default`] is the primary key.
    #[must_use]
    pub fn new(relation: &Relation<'_>, facts: Option<&TableFacts>, types: &Types, rules: &Rules) -> Self {
        // The stream leaves this one schema out (`logicalrep_write_namespace`, proto.c).
        let schema = if relation.schema.is_empty() {
            b"pg_catalog"
        } else {
            relation.schema
        };
        let (schema_name, name) = (name_of(schema), name_of(relation.name));
        let root = facts.and_then(|facts| facts.root.as_ref());
        let root = root.map(|(schema, name)| (schema.as_str(), name.as_str()));
        let columns: Vec<Column> = relation
            .columns
            .iter()
            .map(|column| {
                let column_name = name_of(column.name);
                let mut quoted = Vec::new();
                copy::json_string(&mut quoted, column_name.as_bytes());
                Column {
                    name: quoted,
                    is_key: column.is_key,
                    kind: types.kind(column.type_oid),
                    redaction: rules.redaction(&schema_name, &name, &column_name),
                    is_ignored: rules.ignores(&schema_name, &name, &column_name),
                }
            })
            .collect();
        Self {
            schema: copied(&schema_name),
            name: copied(&name),
            identity: relation.replica_identity,
            primary_key: places(relation, facts.map(|facts| &*facts.primary_key)),
            is_wanted: rules.wants(&schema_name, &name, root),
            ignores_some: columns.iter().any(|column| column.is_ignored),
            columns,
        }
    }
}

/// The primary key. Under the default identity the stream says which columns it has, as of the change; the catalog, which
/// may be ahead of the stream, then only says in which order. Otherwise the catalog alone knows it.
fn places(relation: &Relation<'_>, primary_key: Option<&[Vec<u8>]>) -> Vec<usize> {
    let place = |wanted: &Vec<u8>| {
        relation
            .columns
            .iter()
            .position(|column| column.name == wanted.as_slice())
    };
    let ordered: Option<Vec<usize>> = primary_key.and_then(|names| names.iter().map(place).collect());
    let ordered = ordered.unwrap_or_default();
    if relation.replica_identity != ReplicaIdentity::Default {
        return ordered;
    }
    let keys = relation
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.is_key);
    let keys: Vec<usize> = keys.map(|(place, _)| place).collect();
    let is_the_same = ordered.len() == keys.len() && ordered.iter().all(|place| keys.contains(place));
    if is_the_same { ordered } else { keys }
}

fn copied(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    copy::text(&mut out, text.as_bytes());
    out
}

/// A name that is no UTF-8, as may happen in a database in `SQL_ASCII`, is shown escaped.
fn name_of(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Table, TableFacts};
    use crate::replication::pgoutput::{ColumnDefinition, Relation, ReplicaIdentity};
    use crate::track::kind::{Kind, Types};
    use crate::track::rules::Rules;

    fn relation(identity: ReplicaIdentity) -> Relation<'static> {
        let column = |name: &'static str, is_key, type_oid| ColumnDefinition {
            is_key,
            name: name.as_bytes(),
            type_oid,
            type_modifier: -1,
        };
        Relation {
            oid: 16_400,
            schema: b"public",
            name: b"todo",
            replica_identity: identity,
            columns: vec![
                column("id", true, 23),
                column("a\tb", true, 25),
                column("c", false, 25),
            ],
        }
    }

    fn table(identity: ReplicaIdentity, key: Option<&[&str]>) -> Table {
        let facts = key.map(|names| TableFacts {
            primary_key: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            root: None,
        });
        let rules = Rules {
            ignore_columns: vec!["todo.c".parse().unwrap()],
            ..Rules::default()
        };
        Table::new(&relation(identity), facts.as_ref(), &Types::default(), &rules)
    }

    #[test]
    fn the_primary_key_is_the_catalogs_in_its_order() {
        assert_eq!(
            table(ReplicaIdentity::Full, Some(&["a\tb", "id"])).primary_key,
            [1, 0]
        );
        assert!(table(ReplicaIdentity::Full, Some(&[])).primary_key.is_empty());
        assert!(
            table(ReplicaIdentity::Full, Some(&["id", "not sent"]))
                .primary_key
                .is_empty()
        );
    }

    #[test]
    fn where_catalog_and_stream_differ_the_stream_is_of_the_time_of_the_change() {
        assert_eq!(
            table(ReplicaIdentity::Default, Some(&["a\tb", "id"])).primary_key,
            [1, 0]
        );
        assert_eq!(table(ReplicaIdentity::Default, Some(&["c"])).primary_key, [0, 1]);
        assert_eq!(
            table(ReplicaIdentity::Default, Some(&["renamed", "id"])).primary_key,
            [0, 1]
        );
        assert_eq!(table(ReplicaIdentity::Default, Some(&[])).primary_key, [0, 1]);
    }

    #[test]
    fn without_a_catalog_only_the_default_identity_is_the_primary_key() {
        assert_eq!(table(ReplicaIdentity::Default, None).primary_key, [0, 1]);
        assert!(table(ReplicaIdentity::Full, None).primary_key.is_empty());
        assert!(table(ReplicaIdentity::Index, None).primary_key.is_empty());
    }

    #[test]
    fn names_and_kinds_are_ready_to_be_written() {
        let table = table(ReplicaIdentity::Full, None);
        assert_eq!(table.columns[1].name, br#""a\\tb""#);
        assert_eq!(
            (&table.columns[0].kind, &table.columns[1].kind),
            (&Kind::Number, &Kind::Text)
        );
        assert!(table.ignores_some && table.columns[2].is_ignored && !table.columns[0].is_ignored);
    }
}
