use super::*;

fn set() -> Reply {
    let outcome = Some(Outcome::DiscardAll);
    Reply {
        owner: Owner::Client,
        kind: Kind::Execute,
        outcome,
    }
}

fn kinds(replies: &Replies) -> Vec<&Kind> {
    replies.iter().map(|reply| &reply.kind).collect()
}

#[test]
fn an_error_discards_up_to_the_sync_even_across_a_query() {
    let mut replies = Replies::default();
    for kind in [
        Kind::Bind,
        Kind::Query(None),
        Kind::Execute,
        Kind::Sync,
        Kind::Parse,
    ] {
        replies.push(Reply::client(kind));
    }
    let discarded = replies.discard_to_sync();
    assert!(discarded.found_sync);
    assert_eq!(discarded.replies.len(), 3);
    assert_eq!(replies.front(), Some(&Reply::client(Kind::Sync)));
    replies.pop();
    assert!(!replies.has_closed_groups());
}

#[test]
fn syncs_sent_before_the_end_of_copy_data_are_ignored() {
    let mut replies = Replies::default();
    for kind in [Kind::Execute, Kind::Sync, Kind::EndOfCopy(1), Kind::Sync] {
        replies.push(Reply::client(kind));
    }
    assert!(replies.begin_copy());
    replies.pop();
    replies.end_syncs_in_copy();
    assert_eq!(kinds(&replies), [&Kind::Sync]);
    assert!(replies.has_closed_groups());
}

#[test]
fn behind_a_failed_copy_there_may_be_an_answer_to_each_sync_or_to_the_last() {
    let mut replies = Replies::default();
    for kind in [Kind::Execute, Kind::Sync, Kind::EndOfCopy(1), Kind::Sync] {
        replies.push(Reply::client(kind));
    }
    replies.begin_copy();
    assert!(replies.discard_to_sync().found_sync);
    assert!(replies.ready_after_copy());
    assert!(replies.is_empty());
    replies.push(Reply::client(Kind::Parse));
    assert_eq!(kinds(&replies), [&Kind::SyncInCopy(1), &Kind::Parse]);
    replies.pop();
    assert!(!replies.ready_after_copy());
}

#[test]
fn syncs_among_copy_data_do_not_pile_up() {
    let mut replies = Replies::default();
    replies.push(Reply::client(Kind::Execute));
    replies.begin_copy();
    for _ in 0..3 {
        replies.sync_in_copy();
    }
    assert_eq!(replies.len(), 2);
    replies.discard_to_sync();
    for _ in 0..3 {
        assert!(replies.ready_after_copy());
    }
    assert_eq!(replies.len(), 0);
}

#[test]
fn ends_of_copies_that_never_were_do_not_pile_up() {
    let mut replies = Replies::default();
    replies.end_copy();
    assert!(replies.is_empty());
    replies.push(Reply::client(Kind::Query(None)));
    for _ in 0..3 {
        replies.end_copy();
    }
    assert_eq!(replies.len(), 2);
    replies.pop();
    assert!(replies.is_empty());
}

#[test]
fn a_query_may_hold_several_copies_whose_data_was_sent_ahead() {
    let mut replies = Replies::default();
    replies.push(Reply::client(Kind::Query(None)));
    replies.end_copy();
    replies.end_copy();
    replies.push(Reply::client(Kind::Sync));
    assert!(replies.begin_copy());
    assert!(replies.begin_copy());
    assert!(!replies.begin_copy());
}

#[test]
fn only_complete_groups_count_as_earlier() {
    let mut replies = Replies::default();
    replies.push(set());
    assert!(!replies.closed_groups_change_setting());
    replies.push(Reply::client(Kind::Sync));
    assert!(replies.closed_groups_change_setting());
    replies.take_outcome(false);
    assert!(!replies.closed_groups_change_setting());
    replies.pop();
    replies.pop();
    assert!(replies.is_empty() && !replies.has_closed_groups());
}
