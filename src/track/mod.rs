//! `bemi track`: follows the write-ahead log and stores every row change, with its context, in the table `changes`.
pub mod array;
pub mod assembler;
pub mod context;
pub mod copy;
pub mod id;
pub mod jsonb;
pub mod kind;
pub mod row;
pub mod rules;
pub mod table;
pub mod value;
