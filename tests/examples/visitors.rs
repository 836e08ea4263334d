//! Those who ask an application, all at the same time.

use std::fmt;

use crate::api::{Api, UNKNOWN, Wish};
use crate::http::{Answer, ask};

/// Whose requests they are; the last visitors have not said.
pub const USERS: [Option<i64>; 3] = [Some(187_234), Some(42), None];

const VISITORS_PER_USER: usize = 4;
const ROUNDS: usize = 4;

/// What must not be taken for a comment, a quote or a placeholder, by nobody on the way.
const AWKWARD: &str = r"'/* %s ' \' */ $1 ?";

/// Problems beyond these are of the same kind.
pub const SHOWN: usize = 10;

/// A change that a request asked for.
pub struct Expected {
    pub operation: &'static str,
    pub task: String,
    pub user: Option<i64>,
    pub endpoint: String,
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            task,
            user,
            endpoint,
        } = self;
        write!(formatter, "{operation} '{task}' for {user:?} by {endpoint}")
    }
}

/// What visitors did.
#[derive(Default)]
pub struct Visits {
    pub expected: Vec<Expected>,
    requests: usize,
    /// Requests that failed as they should.
    refused: usize,
    problems: Vec<String>,
}

impl Visits {
    pub fn verdict(&self) -> Result<String, String> {
        if self.problems.is_empty() {
            Ok(format!(
                " {} requests, of which {} fail",
                self.requests, self.refused
            ))
        } else {
            let shown = self.problems.iter().take(SHOWN).cloned().collect::<Vec<_>>();
            Err(format!("{}\n{} problems", shown.join("\n"), self.problems.len()))
        }
    }

    fn add(&mut self, other: Self) {
        self.expected.extend(other.expected);
        self.requests += other.requests;
        self.refused += other.refused;
        self.problems.extend(other.problems);
    }
}

/// Sends all visitors, and returns when all have left.
pub async fn crowd(api: Api, port: u16) -> Visits {
    let mut tasks = Vec::new();
    for number in 0..VISITORS_PER_USER {
        for user in USERS {
            let visitor = Visitor::new(api, port, user);
            tasks.push(tokio::spawn(visitor.stay(number)));
        }
    }
    let mut all = Visits::default();
    for task in tasks {
        all.add(task.await.expect("no panic"));
    }
    all
}

/// One of them.
pub struct Visitor {
    api: Api,
    port: u16,
    user: Option<i64>,
    visits: Visits,
}

impl Visitor {
    pub fn new(api: Api, port: u16, user: Option<i64>) -> Self {
        Self {
            api,
            port,
            user,
            visits: Visits::default(),
        }
    }

    async fn stay(mut self, number: usize) -> Visits {
        for round in 0..ROUNDS {
            let name = |what: &str| {
                format!(
                    "{what} of visitor {number} in round {round} for {:?} {AWKWARD}",
                    self.user
                )
            };
            let names = ["first", "second", "third", "fourth"].map(name);
            if let Err(problem) = self.round(names).await {
                self.visits.problems.push(problem);
            }
        }
        self.visits
    }

    async fn round(&mut self, [first, second, third, fourth]: [String; 4]) -> Result<(), String> {
        let id = self.create(&first).await?;
        let other = self.create(&second).await?;
        // The table refuses the one without a name, when there already is one before it.
        let wish = Wish::Import(vec![
            format!("not {third}"),
            String::new(),
            format!("not {fourth}"),
        ]);
        self.fail(&wish).await?;
        self.complete(id, &first).await?;
        self.import(vec![third, fourth]).await?;
        self.fail(&Wish::Complete(UNKNOWN)).await?;
        self.delete(other, &second).await
    }

    pub async fn create(&mut self, task: &str) -> Result<i64, String> {
        let wish = Wish::Create(task.to_owned());
        let answer = self.succeed(&wish).await?;
        self.expect("CREATE", task, &wish);
        self.api.id(&answer).ok_or_else(|| format!("no id in {answer:?}"))
    }

    pub async fn complete(&mut self, id: i64, task: &str) -> Result<(), String> {
        let wish = Wish::Complete(id);
        self.succeed(&wish).await?;
        self.expect("UPDATE", task, &wish);
        Ok(())
    }

    pub async fn delete(&mut self, id: i64, task: &str) -> Result<(), String> {
        let wish = Wish::Delete(id);
        self.succeed(&wish).await?;
        self.expect("DELETE", task, &wish);
        Ok(())
    }

    async fn import(&mut self, tasks: Vec<String>) -> Result<(), String> {
        let wish = Wish::Import(tasks.clone());
        self.succeed(&wish).await?;
        for task in tasks {
            self.expect("CREATE", &task, &wish);
        }
        Ok(())
    }

    fn expect(&mut self, operation: &'static str, task: &str, wish: &Wish) {
        self.visits.expected.push(Expected {
            operation,
            task: task.to_owned(),
            user: self.user,
            endpoint: self.api.endpoint(wish),
        });
    }

    async fn succeed(&mut self, wish: &Wish) -> Result<Answer, String> {
        let answer = self.ask(wish).await?;
        if self.api.is_success(&answer) {
            Ok(answer)
        } else {
            Err(format!("{wish:?} was answered by {answer:?}"))
        }
    }

    async fn fail(&mut self, wish: &Wish) -> Result<(), String> {
        let answer = self.ask(wish).await?;
        if self.api.is_failure(&answer) {
            self.visits.refused += 1;
            Ok(())
        } else {
            Err(format!("{wish:?} should fail, and was answered by {answer:?}"))
        }
    }

    async fn ask(&mut self, wish: &Wish) -> Result<Answer, String> {
        self.visits.requests += 1;
        ask(self.port, self.user, &self.api.request(wish))
            .await
            .map_err(|error| format!("{wish:?}: {error}"))
    }
}
