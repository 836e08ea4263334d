//! What the demonstration does: the statements, and what they must leave in the write-ahead log. Pure.

/// One scene: a sentence, the statements, and how many row changes they must leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is about to be seen.
    pub title: &'static str,
    /// What the application sends.
    pub statements: &'static [Statement],
    /// How many row changes must arrive, each with a context.
    pub changes: usize,
}

/// One statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text.
    pub sql: &'static str,
    /// Values of `$1`, `$2`, ... Without any, it goes out in a simple Query; with some, prepared and bound.
    pub parameters: &'static [&'static str],
}

const fn simple(sql: &'static str) -> Statement {
    Statement { sql, parameters: &[] }
}

/// The columns of the table `todo`.
///
/// The replica identity is FULL so that the log holds the old values as well; the demonstration sets it right after.
pub const TODO_COLUMNS: &str = "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
     task text NOT NULL, done boolean NOT NULL DEFAULT false";

/// The demonstration, in order. Every write is on the table `todo`.
pub const STEPS: &[Step] = &[
    Step {
        title: "The application says who is asking, once per request.",
        statements: &[simple(
            r#"SET bemi.context = '{"user_id": 187234, "endpoint": "/todo", "method": "POST"}'"#,
        )],
        changes: 0,
    },
    Step {
        title: "Then it writes, as it always did.",
        statements: &[simple("INSERT INTO todo (task) VALUES ('Sleep'), ('Eat')")],
        changes: 2,
    },
    Step {
        title: "Prepared statements with parameters, as drivers send them.",
        statements: &[Statement {
            sql: "UPDATE todo SET done = true WHERE task = $1",
            parameters: &["Sleep"],
        }],
        changes: 1,
    },
    Step {
        title: "Deleted rows do not take the answer to \"who?\" with them.",
        statements: &[simple("DELETE FROM todo WHERE task = 'Eat'")],
        changes: 1,
    },
    Step {
        title: "A comment overrides a key, for one statement.",
        statements: &[simple(
            r#"INSERT INTO todo (task) VALUES ('Repeat') /*Bemi {"endpoint": "/todo/import"} Bemi*/"#,
        )],
        changes: 1,
    },
    Step {
        title: "What is rolled back leaves nothing, neither row nor context.",
        statements: &[
            simple("BEGIN"),
            simple("INSERT INTO todo (task) VALUES ('Panic')"),
            simple("ROLLBACK"),
        ],
        changes: 0,
    },
];

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn every_parameter_has_its_place_in_the_text() {
        for statement in STEPS.iter().flat_map(|step| step.statements) {
            for number in 1..=statement.parameters.len() {
                assert!(statement.sql.contains(&format!("${number}")), "{}", statement.sql);
            }
            assert!(
                !statement
                    .sql
                    .contains(&format!("${}", statement.parameters.len() + 1)),
                "{}",
                statement.sql
            );
        }
    }

    #[test]
    fn every_step_that_writes_expects_its_changes_or_rolls_back() {
        for step in STEPS {
            let has = |word: &str| {
                step.statements
                    .iter()
                    .any(|statement| statement.sql.starts_with(word))
            };
            let writes = has("INSERT") || has("UPDATE") || has("DELETE");
            assert_eq!(step.changes > 0, writes && !has("ROLLBACK"), "{}", step.title);
        }
    }
}
