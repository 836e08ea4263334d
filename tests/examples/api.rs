//! How to ask an application for something, and what it says of the request in the context.

use serde_json::{Value as Json, json};

use crate::http::{Answer, Request};

/// The kind of API that an application has.
#[derive(Clone, Copy)]
pub enum Api {
    /// A path for each thing.
    Rest,
}

/// What a visitor wants.
#[derive(Debug)]
pub enum Wish {
    Create(String),
    /// All of them, or none.
    Import(Vec<String>),
    Complete(i64),
    Delete(i64),
}

/// The end of a path that no todo has.
pub const UNKNOWN: i64 = 2_000_000_000;

impl Api {
    pub fn request(self, wish: &Wish) -> Request {
        match self {
            Self::Rest => rest(wish),
        }
    }

    /// How the application calls such a request in the context.
    pub fn endpoint(self, wish: &Wish) -> String {
        let Request { method, path, .. } = self.request(wish);
        format!("{method} {path}")
    }

    /// The same, out of a context.
    pub fn endpoint_in(self, context: &Json) -> Option<String> {
        let text = |key: &str| context.get(key)?.as_str();
        Some(format!("{} {}", text("method")?, text("endpoint")?))
    }

    pub fn is_failure(self, answer: &Answer) -> bool {
        answer.status >= 400
    }

    pub fn is_success(self, answer: &Answer) -> bool {
        (200..300).contains(&answer.status)
    }

    /// Of the todo in the answer.
    pub fn id(self, answer: &Answer) -> Option<i64> {
        let place = match self {
            Self::Rest => "/id",
        };
        answer.body.pointer(place)?.as_i64()
    }
}

fn rest(wish: &Wish) -> Request {
    let (method, path, body) = match wish {
        Wish::Create(task) => ("POST", "/todos".to_owned(), json!({ "task": task })),
        Wish::Import(tasks) => ("POST", "/todos/import".to_owned(), json!({ "tasks": tasks })),
        Wish::Complete(id) => ("PATCH", format!("/todos/{id}"), json!({ "done": true })),
        Wish::Delete(id) => ("DELETE", format!("/todos/{id}"), json!({})),
    };
    Request { method, path, body }
}
