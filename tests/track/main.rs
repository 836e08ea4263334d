//! `bemi track` as a process, between real servers: what is written on the source, and what stands in `changes` then.

#[path = "../support/mod.rs"]
mod support;

mod round_trip;
mod tracker;

mod types_arrays;
mod types_encodings;
mod types_json;
mod types_made;
mod types_numbers;
mod types_places;
mod types_text;
mod types_times;

mod contexts;
mod ddl;
mod identity;
mod keys;
mod partitions;

mod retention;
mod rules;
mod setup;

mod places;
