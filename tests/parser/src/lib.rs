//! What `bemi::sql` says of a text, held against the server's own scanner and grammar.
//!
//! libpg_query is the parser of a PostgreSQL server without the rest of it. It knows the boundaries and the tree of every
//! text that the server takes; `bemi::sql` must find the same boundaries and, from tokens alone, come to the same
//! verdict as the tree.
//!
//! ```text
//! text -> parser::parse -> tree::judge   \
//!                                         compare::compare -> agreed, refused by the parser, or what differs
//! text -> bemi::sql::analyze -> ours     /
//! ```
//!
//! The texts come from `tests/sql` of the repository, from random changes of these, and from the regression suite of
//! PostgreSQL, whose scripts are for psql ([`psql`]) and for its isolation tester ([`spec`]).

pub mod compare;
pub mod corpus;
pub mod mutate;
pub mod ours;
pub mod parser;
pub mod psql;
pub mod scanner;
pub mod spec;
pub mod tally;
pub mod tree;
pub mod walk;
