//! What the operator decided, in the form the session core asks for it.

use std::net::IpAddr;

use super::verdict::Verdict;
use crate::config::{CommentReuse, Config, Fact, Inject, Pooler, TablePattern};
use crate::context::{Context, Entries};
use crate::sql::{FunctionName, Rules, TableName};

/// Errors with a long context or a long statement in it are still read when messages of clients hardly are.
const MIN_INSPECTED_REPLY_BYTES: usize = 1 << 20;

/// One configuration's decisions, shared by all sessions that began under it.
#[derive(Debug)]
pub struct Policy {
    /// `[context.static]`.
    pub fixed: Entries,
    /// `[context] facts`.
    pub facts: Vec<Fact>,
    /// How statements are analyzed.
    pub rules: Rules,
    /// `[comments] reuse`.
    pub reuse: CommentReuse,
    /// `[inject]`.
    pub inject: Inject,
    /// `[limits] max_inspected_message_bytes`.
    pub max_inspected_message_bytes: usize,
    /// The longest error or notice of the server that is looked into, in bytes. Errors quote statements, so it is no
    /// less than the limit for those.
    pub max_inspected_reply_bytes: usize,
    /// `[limits] max_pending_replies`.
    pub max_pending_replies: usize,
    /// Whether a transaction pooler stands between proxy and server.
    pub is_pooled: bool,
}

impl Policy {
    /// The decisions of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            fixed: config.context.fixed.clone(),
            facts: config.context.facts.clone(),
            rules: Rules {
                affix: config.comments.affix.clone(),
                sqlcommenter: config.comments.sqlcommenter,
                marginalia: config.comments.marginalia,
                functions: config.inject.functions.iter().filter_map(function_name).collect(),
                max_context_bytes: config.context.max_bytes,
            },
            reuse: config.comments.reuse,
            inject: config.inject.clone(),
            max_inspected_message_bytes: config.limits.max_inspected_message_bytes,
            max_inspected_reply_bytes: config
                .limits
                .max_inspected_message_bytes
                .max(MIN_INSPECTED_REPLY_BYTES),
            max_pending_replies: config.limits.max_pending_replies,
            is_pooled: config.upstream.pooler == Pooler::Transaction,
        }
    }

    /// Whether writes to these tables get a message; an unknown target always does.
    pub fn wants(&self, targets: &[TableName]) -> bool {
        targets.is_empty()
            || targets
                .iter()
                .any(|table| self.inject.wants_table(table.schema.as_deref(), &table.name))
    }

    /// The statement as it stands in the payload.
    pub fn sql<'a>(&self, verdict: &'a Verdict, index: usize) -> Option<&'a [u8]> {
        verdict.sql(index, self.inject.sql, self.inject.sql_max_bytes)
    }
}

/// A pattern for functions names one: `*` would make every SELECT a write.
fn function_name(pattern: &TablePattern) -> Option<FunctionName> {
    let name = pattern.name.clone()?;
    Some(FunctionName {
        schema: pattern.schema.clone(),
        name,
    })
}

/// What is known of a client when its session begins.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// `user` of the startup packet.
    pub user: String,
    /// `database` of the startup packet, or the user's name.
    pub database: String,
    /// `application_name` of the startup packet, or what the server reports.
    pub application_name: String,
    /// Absent on a unix socket.
    pub address: Option<IpAddr>,
}

impl Client {
    /// The lowest layer of every context: what the operator wrote down, and the facts asked for. Absent where that is nothing.
    pub fn base(&self, policy: &Policy) -> Option<Box<Context>> {
        let mut entries = policy.fixed.clone();
        for fact in &policy.facts {
            let value = match fact {
                Fact::User => Some(self.user.clone()),
                Fact::Database => Some(self.database.clone()),
                Fact::ApplicationName => Some(self.application_name.clone()),
                Fact::ClientAddr => self.address.map(|address| address.to_string()),
            };
            if let Some(value) = value {
                entries.insert(fact.key().to_owned(), value.into());
            }
        }
        (!entries.is_empty()).then(|| Box::new(Context::new(entries)))
    }
}
