//! Makes up a whole session.

use super::message;
use super::opening;
use super::session::{Act, Cuts, Ending, Opening, Said, Session};
use super::statements::Author;

/// How a client waits for replies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// After every unit.
    Always,
    /// Now and then.
    Sometimes,
    /// It sends everything ahead.
    Never,
}

#[derive(Clone, Copy)]
enum Unit {
    Query,
    Group,
    /// The extended protocol without a Sync at its end.
    Open,
    Transaction,
    Portals,
    Loose,
    CopyIn,
    CopyOut,
    CopyAlone,
    Call,
    Several,
    Malformed,
    Story,
    Sync,
    Flush,
}

/// The session of this seed.
pub fn session(seed: u64) -> Session {
    let mut author = Author::new(seed);
    if author.dice.chance(3) {
        return walsender(author);
    }
    let opening = opening::any(&mut author.dice);
    let patience = author.dice.pick(&[
        Patience::Always,
        Patience::Sometimes,
        Patience::Sometimes,
        Patience::Never,
    ]);
    let mut acts = Vec::new();
    for _ in 0..author.dice.between(2, 9) {
        unit(&mut author, &mut acts);
        let waits = match patience {
            Patience::Always => true,
            Patience::Sometimes => author.dice.chance(35),
            Patience::Never => false,
        };
        if waits {
            acts.push(Act::Wait);
        } else if author.dice.chance(5) {
            acts.push(Act::Pause(author.dice.pick(&[100, 1000, 5000])));
        }
    }
    if author.dice.chance(8) {
        acts.push(Act::Wait);
        author.fatal(&mut acts);
        let after = author.query();
        acts.push(after);
    }
    if super::stage::cluster().server_version().major >= LEAVES_GROUPS_OPEN {
        acts = synced_ahead_of_queries(acts);
    }
    finish(author, opening, without_stale_portals(acts))
}

/// Has nobody execute the unnamed portal that a Query may have left. One that failed in a transaction block leaves it with a
/// list of statements that is freed at the next message, and Execute looks into that list: `IsTransactionExitStmtList` in
/// postgres.c. The answer is chance, and now and then the server crashes.
fn without_stale_portals(acts: Vec<Act>) -> Vec<Act> {
    let (mut is_queried, mut is_bound) = (false, false);
    let replace = |mut act: Act| {
        if let Act::Say(said) = &mut act {
            let names_no_portal = said.bytes.get(5) == Some(&0);
            match said.bytes.first() {
                Some(b'Q') => (is_queried, is_bound) = (true, false),
                Some(b'S') => is_bound = false,
                Some(b'B') if names_no_portal => is_bound = true,
                Some(b'E') if names_no_portal && is_queried && !is_bound => {
                    said.bytes = message::execute("gone", 0)
                }
                _ => {}
            }
        }
        act
    };
    acts.into_iter().map(replace).collect()
}

/// From this version on, a Query of one statement does not end the transaction of an Execute that no Sync has ended
/// (`XACT_FLAGS_PIPELINING` in postgres.c), and a Query of two statements does, so that the one ahead of a write shows.
const LEAVES_GROUPS_OPEN: u32 = 18;

/// Has no Query follow a group of the extended protocol without its Sync.
fn synced_ahead_of_queries(acts: Vec<Act>) -> Vec<Act> {
    let mut synced = Vec::new();
    let mut is_open = false;
    for act in acts {
        if let Act::Say(said) = &act {
            match said.bytes.first() {
                Some(b'Q') if is_open => {
                    is_open = false;
                    synced.push(Act::Say(Said {
                        bytes: message::sync(),
                        labels: Vec::new(),
                    }));
                }
                Some(b'S') => is_open = false,
                Some(b'P' | b'B' | b'E' | b'D' | b'C') => is_open = true,
                _ => {}
            }
        }
        synced.push(act);
    }
    synced
}

fn finish(mut author: Author, opening: Opening, mut acts: Vec<Act>) -> Session {
    let dice = &mut author.dice;
    let mut ending = dice.weighted(&[
        (6, Ending::Polite),
        (3, Ending::FallsSilent),
        (1, Ending::CutShort),
        (1, Ending::Vanishes),
    ]);
    // A length that promises more than there is swallows a Terminate.
    if acts
        .iter()
        .any(|act| matches!(act, Act::Say(said) if !is_framed(&said.bytes)))
    {
        ending = Ending::FallsSilent;
    }
    if ending == Ending::Vanishes {
        acts.push(Act::Say(author_sync(&mut author)));
        acts.push(Act::Wait);
    }
    let dice = &mut author.dice;
    Session {
        seed: author.seed,
        opening,
        acts,
        ending,
        cuts: dice.weighted(&[
            (5, Cuts::None),
            (2, Cuts::Messages),
            (1, Cuts::OneByteEach),
            (2, Cuts::InLengths),
            (3, Cuts::Anywhere),
        ]),
        is_chopped: dice.chance(45),
    }
}

fn author_sync(author: &mut Author) -> Said {
    Said {
        bytes: message::sync(),
        labels: author.take_labels(),
    }
}

/// Whether its length is right and its type one that the server reads to its end.
fn is_framed(bytes: &[u8]) -> bool {
    let length = bytes
        .get(1..5)
        .and_then(|length| length.try_into().ok())
        .map(i32::from_be_bytes);
    length == Some(bytes.len() as i32 - 1)
}

fn unit(author: &mut Author, acts: &mut Vec<Act>) {
    let unit = author.dice.weighted(&[
        (30, Unit::Query),
        (30, Unit::Group),
        (4, Unit::Open),
        (8, Unit::Transaction),
        (4, Unit::Portals),
        (8, Unit::Loose),
        (7, Unit::CopyIn),
        (4, Unit::CopyOut),
        (1, Unit::CopyAlone),
        (2, Unit::Call),
        (2, Unit::Several),
        (3, Unit::Malformed),
        (5, Unit::Story),
        (2, Unit::Sync),
        (2, Unit::Flush),
    ]);
    match unit {
        Unit::Query => {
            let query = author.query();
            acts.push(query);
        }
        Unit::Group => {
            for _ in 0..author.dice.weighted(&[(5, 1), (3, 2), (1, 4)]) {
                author.extended(acts);
            }
            author.sync(acts);
        }
        Unit::Open => author.extended(acts),
        Unit::Transaction => author.whole_transaction(acts),
        Unit::Portals => {
            author.portals(acts);
            author.sync(acts);
        }
        Unit::Loose => {
            author.loose(acts);
            if author.dice.chance(70) {
                author.sync(acts);
            }
        }
        Unit::CopyIn => author.copy_in(acts),
        Unit::CopyOut => author.copy_out(acts),
        Unit::CopyAlone => author.copy_messages_alone(acts),
        Unit::Call => {
            let call = author.function_call();
            acts.push(call);
        }
        Unit::Several => {
            author.parse_of_several(acts);
            author.sync(acts);
        }
        Unit::Malformed => {
            author.malformed(acts);
            author.sync(acts);
        }
        Unit::Story => author.story(acts),
        Unit::Sync => author.sync(acts),
        Unit::Flush => {
            author.label("loose: Flush");
            let flush = author.say(message::flush());
            acts.push(flush);
        }
    }
}

/// A session that replicates, as far as its answers are the same each time.
fn walsender(mut author: Author) -> Session {
    let opening = opening::replication(&mut author.dice);
    let mut acts = Vec::new();
    for _ in 0..author.dice.between(1, 5) {
        let command = author.dice.pick(&[
            "SHOW wal_level",
            "SHOW bemi.context",
            "SELECT 1, 'é'",
            "INSERT INTO audit (what) VALUES ('replication')",
            "DROP_REPLICATION_SLOT no_such_slot",
            "START_REPLICATION SLOT no_such_slot LOGICAL 0/0",
            "TIMELINE_HISTORY 77",
            "NONSENSE",
            "",
        ]);
        author.label("replication: command");
        acts.push(author.say(message::query(command.as_bytes())));
        if author.dice.chance(40) {
            acts.push(Act::Wait);
        }
    }
    if author.dice.chance(20) {
        author.label("replication: extended protocol");
        acts.push(author.say(message::parse("", b"SELECT 1", &[])));
        author.sync(&mut acts);
    }
    finish(author, opening, acts)
}
