//! How to ask an application for something, and how it calls that in the context.

use serde_json::{Value as Json, json};

use crate::http::{Answer, Request};

/// The kind of API that an application has.
#[derive(Clone, Copy)]
pub enum Api {
    /// A path for each thing.
    Rest {
        /// What all of them begin with.
        prefix: &'static str,
    },
    /// Mutations, all at one path.
    GraphQl,
    /// A path for each procedure.
    Trpc,
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

/// The id that no todo has.
pub const UNKNOWN: i64 = 2_000_000_000;

impl Api {
    pub fn request(self, wish: &Wish) -> Request {
        match self {
            Self::Rest { prefix } => rest(prefix, wish),
            Self::GraphQl => graphql(wish),
            Self::Trpc => trpc(wish),
        }
    }

    /// How the application calls such a request in the context: a path, or the procedure where that says more.
    pub fn endpoint(self, wish: &Wish) -> String {
        let Request { method, path, .. } = self.request(wish);
        let endpoint = match self {
            Self::Rest { .. } => path,
            Self::GraphQl => field(wish).to_owned(),
            Self::Trpc => procedure(wish).to_owned(),
        };
        format!("{method} {endpoint}")
    }

    /// The same, out of a context.
    pub fn endpoint_in(self, context: &Json) -> Option<String> {
        let text = |key: &str| context.get(key)?.as_str();
        Some(format!("{} {}", text("method")?, text("endpoint")?))
    }

    pub fn is_success(self, answer: &Answer) -> bool {
        (200..300).contains(&answer.status) && self.no_errors(answer)
    }

    pub fn is_failure(self, answer: &Answer) -> bool {
        answer.status >= 400 || !self.no_errors(answer)
    }

    /// GraphQL answers 200 when a mutation failed.
    fn no_errors(self, answer: &Answer) -> bool {
        !matches!(self, Self::GraphQl) || answer.body.get("errors").is_none()
    }

    /// Of the todo in the answer.
    pub fn id(self, answer: &Answer) -> Option<i64> {
        let place = match self {
            Self::Rest { .. } => "/id",
            Self::GraphQl => "/data/createTodo/id",
            Self::Trpc => "/result/data/id",
        };
        answer.body.pointer(place)?.as_i64()
    }
}

fn rest(prefix: &str, wish: &Wish) -> Request {
    let (method, path, body) = match wish {
        Wish::Create(task) => ("POST", "/todos".to_owned(), json!({ "task": task })),
        Wish::Import(tasks) => ("POST", "/todos/import".to_owned(), json!({ "tasks": tasks })),
        Wish::Complete(id) => ("PATCH", format!("/todos/{id}"), json!({ "done": true })),
        Wish::Delete(id) => ("DELETE", format!("/todos/{id}"), json!({})),
    };
    Request {
        method,
        path: format!("{prefix}{path}"),
        body,
    }
}

fn graphql(wish: &Wish) -> Request {
    let field = field(wish);
    let (parameter, argument, variables) = match wish {
        Wish::Create(task) => ("$task: String!", "task: $task", json!({ "task": task })),
        Wish::Import(tasks) => ("$tasks: [String!]!", "tasks: $tasks", json!({ "tasks": tasks })),
        Wish::Complete(id) | Wish::Delete(id) => ("$id: Int!", "id: $id", json!({ "id": id })),
    };
    let query = format!("mutation ({parameter}) {{ {field}({argument}) {{ id task done author }} }}");
    Request {
        method: "POST",
        path: "/".to_owned(),
        body: json!({ "query": query, "variables": variables }),
    }
}

fn field(wish: &Wish) -> &'static str {
    match wish {
        Wish::Create(_) => "createTodo",
        Wish::Import(_) => "importTodos",
        Wish::Complete(_) => "completeTodo",
        Wish::Delete(_) => "deleteTodo",
    }
}

fn trpc(wish: &Wish) -> Request {
    let input = match wish {
        Wish::Create(task) => json!({ "task": task }),
        Wish::Import(tasks) => json!({ "tasks": tasks }),
        Wish::Complete(id) | Wish::Delete(id) => json!({ "id": id }),
    };
    Request {
        method: "POST",
        path: format!("/{}", procedure(wish)),
        body: input,
    }
}

fn procedure(wish: &Wish) -> &'static str {
    match wish {
        Wish::Create(_) => "todo.create",
        Wish::Import(_) => "todo.import",
        Wish::Complete(_) => "todo.complete",
        Wish::Delete(_) => "todo.delete",
    }
}
