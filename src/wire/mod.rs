//! The frontend/backend protocol as bytes: frames, startup packets, and the few messages bemi looks into.
//!
//! Everything here is pure: slices in, views or bytes out. A view borrows from the frame it was read from, so
//! that what passes through is never copied to be understood.
//!
//! The source of every layout is the PostgreSQL manual, "Frontend/Backend Protocol" › "Message Formats".
//!
//! The crate `pgwire` knows all messages, but its decoder owns every message it reads (a copy per field, a
//! `String` per name) and refuses texts that are not UTF-8. The relay uses the views of this module, and tests ask
//! `pgwire` for a second opinion on them.

pub mod backend;
pub mod encoding;
pub mod frame;
pub mod frontend;
mod reader;
pub mod response;
pub mod startup;

pub use reader::Malformed;
