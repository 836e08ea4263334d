//! A client that goes at random through what clients do with their context.

use futures_util::future::join;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config};

use crate::support;

/// A client that knows which context its rows must carry.
pub struct Actor {
    pub client: Client,
    name: usize,
    random: StdRng,
    /// Counts what it has set, so that no two contexts are alike.
    count: usize,
    startup: Option<Json>,
    pub context: Option<Json>,
}

impl Actor {
    pub async fn connect(config: &Config, name: usize, with_startup_context: bool) -> Self {
        let startup = with_startup_context.then(|| json!({"who": name, "startup": true}));
        let mut config = config.clone();
        if let Some(context) = &startup {
            config.options(format!("-c bemi.context={context}"));
        }
        Self {
            client: support::connect_with(&config).await.0,
            name,
            random: StdRng::seed_from_u64(name as u64),
            count: 0,
            context: startup.clone(),
            startup,
        }
    }

    fn fresh(&mut self) -> Json {
        self.count += 1;
        json!({"who": self.name, "count": self.count})
    }

    pub async fn simple(&self, sql: &str) {
        let done = self.client.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Parse, Bind, Execute in one group, with the unnamed statement: what every transaction pooler can take.
    pub async fn extended(&self, sql: &str, parameter: Option<&str>) {
        let done = match parameter {
            Some(text) => self.client.query_typed(sql, &[(&text, Type::TEXT)]).await,
            None => self.client.query_typed(sql, &[]).await,
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn step(&mut self) {
        match self.random.random_range(0..15) {
            0..=4 => self.write().await,
            5..=7 => self.set().await,
            8 => self.forget().await,
            14 => self.perhaps_set().await,
            9..=11 => self.transaction().await,
            12 => self.pipeline().await,
            _ => self.fail().await,
        }
    }

    pub async fn write(&mut self) {
        match self.random.random_range(0..4) {
            0 => self.simple(&insert(&self.context)).await,
            1 => self.extended(&insert(&self.context), None).await,
            2 => {
                let expected = self.context.as_ref().map(Json::to_string);
                let sql = "INSERT INTO todo (expected) VALUES ($1)";
                let done = self.client.query_typed(sql, &[(&expected, Type::TEXT)]).await;
                done.expect("written");
            }
            _ => {
                let mut merged = self.context.clone().unwrap_or_else(|| json!({}));
                merged["comment"] = json!(self.name);
                let sql = format!(
                    "/*Bemi {{\"comment\":{}}} Bemi*/ {}",
                    self.name,
                    insert(&Some(merged))
                );
                self.extended(&sql, None).await;
            }
        }
    }

    pub async fn set(&mut self) {
        let context = self.fresh();
        let expression = format!(
            "'{{\"who\":' || {} || ',\"count\":' || {} || '}}'",
            self.name, self.count
        );
        let computed = format!("SELECT set_config('bemi.context', {expression}, false)");
        match self.random.random_range(0..8) {
            6 | 7 => return self.extend().await,
            0 => self.simple(&format!("SET bemi.context = '{context}'")).await,
            1 => {
                self.extended(&format!("SET bemi.context = '{context}'"), None)
                    .await
            }
            2 => {
                let sql = "SELECT set_config('bemi.context', $1, false)";
                self.extended(sql, Some(&context.to_string())).await;
            }
            3 => self.simple(&computed).await,
            4 => self.extended(&computed, None).await,
            _ => {
                let insert = insert(&Some(context.clone()));
                self.simple(&format!(
                    "SET bemi.context = '{context}'; {insert}; SELECT 1; {insert}"
                ))
                .await;
            }
        }
        self.context = Some(context);
    }

    /// The new value depends on the old one, which must be this client's own.
    async fn extend(&mut self) {
        let mut context = self.context.clone().unwrap_or_else(|| json!({}));
        let more = self.fresh();
        context["extended"] = more["count"].clone();
        let sql = format!(
            "SELECT set_config('bemi.context', (coalesce(nullif(current_setting('bemi.context', true), ''), '{{}}')::jsonb \
             || '{{\"extended\":{}}}')::text, false)",
            more["count"]
        );
        if self.random.random() {
            self.simple(&sql).await;
        } else {
            self.extended(&sql, None).await;
        }
        self.context = Some(context);
    }

    /// Only the server can tell whether these set it.
    async fn perhaps_set(&mut self) {
        let other = "SELECT set_config('work' || '_mem', '4MB', false)";
        self.simple(other).await;
        self.extended(other, None).await;
        self.write().await;
        let context = self.fresh();
        self.simple("BEGIN").await;
        self.extended(other, None).await;
        self.extended(
            &format!("SELECT set_config('bemi.' || 'context', '{context}', true)"),
            None,
        )
        .await;
        self.simple(&insert(&Some(context))).await;
        self.simple("COMMIT").await;
        self.write().await;
    }

    async fn forget(&mut self) {
        let all = [
            "RESET bemi.context",
            "SET bemi.context TO DEFAULT",
            "DISCARD ALL",
            "RESET ALL",
        ];
        let sql = all[self.random.random_range(0..all.len())];
        self.simple(sql).await;
        self.context = self.startup.clone();
    }

    /// In a transaction the server connection stays the same, so statements may have names.
    async fn transaction(&mut self) {
        let before = self.context.clone();
        self.simple("BEGIN").await;
        let (session, local) = (self.fresh(), self.fresh());
        let is_set = self.random.random();
        if is_set {
            self.simple(&format!("SET bemi.context = '{session}'")).await;
            self.context = Some(session);
            self.simple(&insert(&self.context)).await;
        }
        let is_local = self.random.random();
        let mut current = self.context.clone();
        if is_local {
            self.extended(
                "SELECT set_config('bemi.context', $1, true)",
                Some(&local.to_string()),
            )
            .await;
            current = Some(local);
        }
        self.client
            .execute(&insert(&current), &[])
            .await
            .expect("written");
        if self.random.random() {
            self.simple(&format!(
                "SAVEPOINT one_more; SET LOCAL bemi.context = '{{\"lost\":{}}}'",
                self.name
            ))
            .await;
            self.simple("ROLLBACK TO one_more").await;
        }
        self.extended(&insert(&current), None).await;
        if self.random.random() {
            self.simple("COMMIT").await;
        } else {
            self.simple("ROLLBACK").await;
            self.context = before;
        }
        self.simple(&insert(&self.context)).await;
    }

    /// Sent without waiting for replies.
    async fn pipeline(&mut self) {
        let context = self.fresh();
        let (set, write) = (
            format!("SET bemi.context = '{context}'"),
            insert(&Some(context.clone())),
        );
        if self.random.random() {
            join(self.extended(&set, None), self.extended(&write, None)).await;
        } else {
            join(self.simple(&set), self.simple(&write)).await;
        }
        self.context = Some(context);
    }

    /// A SET that is undone by the failure of what stands behind it.
    async fn fail(&mut self) {
        let sql = "SET bemi.context = '{\"failed\":true}'; SELECT 1/0";
        assert!(self.client.batch_execute(sql).await.is_err());
        let sql = "SELECT set_config('bemi.context', 'no context', false)";
        assert!(self.client.query_typed(sql, &[]).await.is_err());
        self.write().await;
    }
}

/// A write of a row that names the context it must carry.
pub fn insert(expected: &Option<Json>) -> String {
    match expected {
        Some(context) => format!("INSERT INTO todo (expected) VALUES ('{context}')"),
        None => "INSERT INTO todo (expected) VALUES (NULL)".to_owned(),
    }
}
