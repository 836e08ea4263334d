//! One setting of the server, followed through transactions and savepoints.
//!
//! The server keeps a stack per setting with at most one entry per nesting level (`push_old_value` and
//! `AtEOXact_GUC` in `guc.c`): what the value was before the level touched it, and, where SET and SET LOCAL met
//! on one level, what SET left behind. This is that stack, so that every order of SET, SET LOCAL, SAVEPOINT,
//! RELEASE and ROLLBACK ends where the server ends. A simpler model, one value per savepoint, gets
//! `set local A; set B; commit` wrong.

/// How long a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SET: beyond the end of the transaction, if that commits.
    Session,
    /// SET LOCAL: to the end of the transaction.
    Local,
}

/// A setting's value with what ROLLBACK, ROLLBACK TO and COMMIT would make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings<V> {
    current: Current<V>,
    reset: V,
    stack: Vec<Touched<V>>,
}

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Current<V> {
    value: V,
    /// From the session's start, be it by RESET; SET gives another source, even to the same value.
    is_default: bool,
}

/// What one nesting level did to the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Touched<V> {
    /// 1 is the transaction itself, each savepoint adds one.
    level: usize,
    /// The value before this level.
    prior: Current<V>,
    kind: Kind<V>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind<V> {
    Set,
    Local,
    /// SET, then SET LOCAL; at commit the value of the SET comes back.
    SetThenLocal {
        set: Current<V>,
    },
}

impl<V: Clone> Settings<V> {
    /// A setting that RESET returns to `reset`.
    pub fn new(reset: V) -> Self {
        Self {
            current: Current {
                value: reset.clone(),
                is_default: true,
            },
            reset,
            stack: Vec::new(),
        }
    }

    /// The value in force.
    pub fn value(&self) -> &V {
        &self.current.value
    }

    /// Whether neither commit nor rollback would change the value.
    pub fn is_settled(&self) -> bool {
        self.stack.is_empty()
    }

    /// SET or SET LOCAL at this nesting level.
    pub fn set(&mut self, scope: Scope, value: V, level: usize) {
        self.remember(scope, level);
        self.current = Current {
            value,
            is_default: false,
        };
    }

    /// RESET, SET .. TO DEFAULT.
    pub fn reset(&mut self, scope: Scope, level: usize) {
        self.remember(scope, level);
        self.current = Current {
            value: self.reset.clone(),
            is_default: true,
        };
    }

    /// RESET ALL, DISCARD ALL. What has its default is passed over, even where a SET LOCAL .. TO DEFAULT is the reason
    /// and the end of the transaction brings another value back (`ResetAllOptions`).
    pub fn reset_all(&mut self, level: usize) {
        if !self.current.is_default {
            self.reset(Scope::Session, level);
        }
    }

    fn remember(&mut self, scope: Scope, level: usize) {
        match self.stack.last_mut().filter(|top| top.level >= level) {
            None => {
                let kind = match scope {
                    Scope::Session => Kind::Set,
                    Scope::Local => Kind::Local,
                };
                self.stack.push(Touched {
                    level,
                    prior: self.current.clone(),
                    kind,
                });
            }
            Some(top) => match scope {
                Scope::Session => top.kind = Kind::Set,
                Scope::Local => {
                    if matches!(top.kind, Kind::Set) {
                        top.kind = Kind::SetThenLocal {
                            set: self.current.clone(),
                        };
                    }
                }
            },
        }
    }

    /// The levels from `level` on are rolled back: ROLLBACK (1) or ROLLBACK TO.
    pub fn roll_back(&mut self, level: usize) {
        while self.stack.last().is_some_and(|top| top.level >= level) {
            if let Some(top) = self.stack.pop() {
                self.current = top.prior;
            }
        }
    }

    /// The levels from `level` on are over and keep their work: COMMIT (1) or RELEASE.
    pub fn commit(&mut self, level: usize) {
        while self.stack.last().is_some_and(|top| top.level >= level) {
            let Some(mut top) = self.stack.pop() else { return };
            if top.level == 1 {
                self.end_of_transaction(top);
                continue;
            }
            match self.stack.last_mut().filter(|below| below.level == top.level - 1) {
                Some(below) => merge(below, top),
                None => {
                    top.level -= 1;
                    self.stack.push(top);
                }
            }
        }
    }

    fn end_of_transaction(&mut self, top: Touched<V>) {
        match top.kind {
            Kind::Set => {}
            Kind::Local => self.current = top.prior,
            Kind::SetThenLocal { set } => self.current = set,
        }
    }
}

/// A released savepoint's entry becomes part of the level below.
fn merge<V>(below: &mut Touched<V>, released: Touched<V>) {
    match released.kind {
        Kind::Set => below.kind = Kind::Set,
        Kind::Local => {
            if matches!(below.kind, Kind::Set) {
                below.kind = Kind::SetThenLocal { set: released.prior };
            }
        }
        Kind::SetThenLocal { set } => below.kind = Kind::SetThenLocal { set },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script such as `l:A s+ S:B s- c`: SET LOCAL A, SAVEPOINT, SET B, ROLLBACK TO, COMMIT.
    fn value_after(script: &str) -> &'static str {
        let mut settings = Settings::new("none");
        let mut level = 1;
        for step in script.split_whitespace() {
            match step.split_once(':') {
                Some((scope, value)) => {
                    let value = ["A", "B", "C"]
                        .into_iter()
                        .find(|v| *v == value)
                        .expect("a known value");
                    let scope = if scope == "l" {
                        Scope::Local
                    } else {
                        Scope::Session
                    };
                    settings.set(scope, value, level);
                }
                None => match step {
                    "s+" => level += 1,
                    "s-" => settings.roll_back(level),
                    "rel" => {
                        settings.commit(level);
                        level -= 1;
                    }
                    "reset" => settings.reset(Scope::Session, level),
                    "l-default" => settings.reset(Scope::Local, level),
                    "reset-all" => settings.reset_all(level),
                    "c" => {
                        settings.commit(1);
                        level = 1;
                    }
                    "r" => {
                        settings.roll_back(1);
                        level = 1;
                    }
                    _ => panic!("unknown step {step}"),
                },
            }
        }
        settings.value()
    }

    #[test]
    fn every_order_ends_where_the_server_ends() {
        for (script, value) in [
            ("l:A s+ S:B s-", "A"),
            ("S:A l:B c", "A"),
            ("l:A S:B c", "B"),
            ("S:A c l:B", "B"),
            ("S:A c l:B c", "A"),
            ("S:A c S:B r", "A"),
            ("S:A s+ l:B rel c", "A"),
            ("s+ S:A s+ l:B rel rel c", "A"),
            ("s+ s+ l:A rel rel", "A"),
            ("s+ s+ l:A rel rel c", "none"),
            ("l:A s+ S:B l:C rel c", "B"),
            ("S:A c s+ reset s-", "A"),
            ("S:A c reset c", "none"),
            ("S:A c reset-all c", "none"),
            ("S:A c l-default reset-all c", "A"),
            ("S:A c l-default reset c", "none"),
            ("S:A c l:B reset-all c", "none"),
        ] {
            assert_eq!(value_after(script), value, "{script}");
        }
    }
}
