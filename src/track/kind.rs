//! What a column's type makes of its value in JSON. Pure.

use std::collections::HashMap;

/// How the text of a value becomes JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `t` and `f`.
    Boolean,
    /// Digits, as they stand; what is no number (`NaN`, `Infinity`) as a string.
    Number,
    /// As it stands, nested.
    Json,
    /// `2026-11-24 10:00:00.5`: with a `T`.
    Timestamp,
    /// `2026-11-24 10:00:00+00`: with a `T` and the minutes of the offset.
    TimestampTz,
    /// An array, item by item.
    Array {
        /// What its items are.
        item: Box<Kind>,
        /// What stands between them: a comma, but for type box.
        delimiter: u8,
    },
    /// A string: also enums, ranges, composites, and whatever is not known.
    Text,
}

/// What `pg_type` says of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFacts {
    /// Its oid.
    pub oid: u32,
    /// What a domain is made of (`typbasetype`).
    pub base: Option<u32>,
    /// What an array is made of (`typelem`, where the type is subscripted by `array_subscript_handler`).
    pub item: Option<u32>,
    /// `typdelim` of the type itself: what stands between its values in an array of it.
    pub delimiter: u8,
}

impl TypeFacts {
    /// Of a type about which nothing else is known.
    #[must_use]
    pub fn of_text(oid: u32) -> Self {
        Self {
            oid,
            base: None,
            item: None,
            delimiter: b',',
        }
    }
}

/// The types met so far.
#[derive(Debug, Default)]
pub struct Types {
    facts: HashMap<u32, TypeFacts>,
}

/// Types of `pg_type.dat` whose values are no strings in JSON; their oids never change.
const BUILT_IN: &[(u32, Kind)] = &[
    (16, Kind::Boolean),
    (20, Kind::Number),
    (21, Kind::Number),
    (23, Kind::Number),
    (26, Kind::Number),
    (114, Kind::Json),
    (700, Kind::Number),
    (701, Kind::Number),
    (1114, Kind::Timestamp),
    (1184, Kind::TimestampTz),
    (1700, Kind::Number),
    (3802, Kind::Json),
];

/// Domains over domains over arrays: deeper than this is a circle.
const MAX_DEPTH: usize = 32;

impl Types {
    /// Remembers what the catalog said.
    pub fn learn(&mut self, facts: impl IntoIterator<Item = TypeFacts>) {
        self.facts
            .extend(facts.into_iter().map(|facts| (facts.oid, facts)));
    }

    /// The types that have to be asked for before [`Types::kind`] of `oid` can be answered.
    #[must_use]
    pub fn unknown(&self, oid: u32) -> Option<u32> {
        let mut oid = oid;
        for _ in 0..MAX_DEPTH {
            if built_in(oid).is_some() {
                return None;
            }
            let Some(facts) = self.facts.get(&oid) else {
                return Some(oid);
            };
            match facts.base.or(facts.item) {
                Some(inner) => oid = inner,
                None => return None,
            }
        }
        None
    }

    /// What becomes of a value of this type.
    #[must_use]
    pub fn kind(&self, oid: u32) -> Kind {
        self.kind_within(oid, MAX_DEPTH)
    }

    fn kind_within(&self, oid: u32, depth: usize) -> Kind {
        if let Some(kind) = built_in(oid) {
            return kind.clone();
        }
        let (Some(facts), Some(depth)) = (self.facts.get(&oid), depth.checked_sub(1)) else {
            return Kind::Text;
        };
        if let Some(base) = facts.base {
            return self.kind_within(base, depth);
        }
        let Some(item) = facts.item else {
            return Kind::Text;
        };
        match self.kind_within(item, depth) {
            // Its items are of a domain over arrays. In JSON that would look like one array of two dimensions, and be read
            // back as such.
            Kind::Array { .. } => Kind::Text,
            kind => Kind::Array {
                item: Box::new(kind),
                delimiter: self.facts.get(&item).map_or(b',', |facts| facts.delimiter),
            },
        }
    }
}

fn built_in(oid: u32) -> Option<&'static Kind> {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == oid)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::{Kind, TypeFacts, Types};

    fn facts(oid: u32, base: Option<u32>, item: Option<u32>, delimiter: u8) -> TypeFacts {
        TypeFacts {
            oid,
            base,
            item,
            delimiter,
        }
    }

    #[test]
    fn a_domain_is_what_it_is_made_of() {
        let mut types = Types::default();
        types.learn([
            facts(16_400, Some(16_401), None, b','),
            facts(16_401, Some(23), None, b','),
        ]);
        assert_eq!(types.unknown(16_400), None);
        assert_eq!(types.kind(16_400), Kind::Number);
    }

    #[test]
    fn an_array_is_parted_as_its_items_ask() {
        let mut types = Types::default();
        assert_eq!(types.unknown(1_020), Some(1_020));
        types.learn([facts(1_020, None, Some(603), b','), facts(603, None, None, b';')]);
        assert_eq!(types.unknown(1_020), None);
        assert_eq!(
            types.kind(1_020),
            Kind::Array {
                item: Box::new(Kind::Text),
                delimiter: b';'
            }
        );
    }

    #[test]
    fn an_array_of_a_domain_over_arrays_is_text() {
        let mut types = Types::default();
        types.learn([
            facts(16_402, None, Some(16_401), b','),
            facts(16_401, Some(1_007), None, b','),
            facts(1_007, None, Some(23), b','),
        ]);
        assert!(matches!(types.kind(16_401), Kind::Array { .. }));
        assert_eq!(types.kind(16_402), Kind::Text);
    }

    #[test]
    fn what_nobody_knows_and_what_goes_in_circles_is_text() {
        let mut types = Types::default();
        assert_eq!(types.kind(99_999), Kind::Text);
        types.learn([
            facts(16_400, Some(16_401), None, b','),
            facts(16_401, Some(16_400), None, b','),
        ]);
        assert_eq!(types.kind(16_400), Kind::Text);
        assert_eq!(types.unknown(16_400), None);
    }
}
