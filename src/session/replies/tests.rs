use super::*;

fn set() -> Reply {
    let outcome = Some(Outcome::DiscardAll);
    Reply {
        owner: Owner::Client,
        kind: Kind::Execute,
        outcome,
    }
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
    assert_eq!(replies.len(), 2);
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
    assert!(replies.ignore_syncs_during_copy());
    let kinds = |replies: &Replies| replies.iter().map(Reply::is_boundary).collect::<Vec<_>>();
    assert_eq!(kinds(&replies), [false, false, true]);
    assert_eq!(replies.take_syncs_in_copy(), 1);
    assert_eq!(kinds(&replies), [false, true]);
    assert_eq!(replies.take_syncs_in_copy(), 0);
}

#[test]
fn any_number_of_ignored_syncs_takes_one_place() {
    let mut replies = Replies::default();
    replies.push(Reply::client(Kind::Query(None)));
    for _ in 0..3 {
        replies.push(Reply::client(Kind::Sync));
    }
    assert!(!replies.ignore_syncs_during_copy());
    assert_eq!(replies.len(), 2);
    replies.sync_in_copy();
    assert!(!replies.ignore_syncs_during_copy());
    assert_eq!(replies.len(), 2);
    assert_eq!(replies.take_syncs_in_copy(), 4);
    assert_eq!(replies.len(), 1);
}

#[test]
fn a_sync_behind_what_has_no_place_in_copy_is_not_ignored() {
    let mut replies = Replies::default();
    for kind in [Kind::Query(None), Kind::Bind, Kind::Sync, Kind::EndOfCopy(1)] {
        replies.push(Reply::client(kind));
    }
    assert!(replies.ignore_syncs_during_copy());
    assert_eq!(replies.take_syncs_in_copy(), 0);
    assert_eq!(replies.len(), 4);
}

#[test]
fn an_error_in_copy_skips_no_further_than_a_sync_among_its_data() {
    let mut replies = Replies::default();
    replies.push(Reply::client(Kind::Execute));
    replies.sync_in_copy();
    replies.sync_in_copy();
    replies.push(Reply::client(Kind::Query(None)));
    let discarded = replies.discard_to_sync();
    assert!(discarded.found_sync);
    assert_eq!(replies.take_syncs_in_copy(), 2);
    assert_eq!(replies.front(), Some(&Reply::client(Kind::Query(None))));
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
    assert!(replies.ignore_syncs_during_copy());
    assert!(replies.ignore_syncs_during_copy());
    assert!(!replies.ignore_syncs_during_copy());
}

#[test]
fn only_complete_groups_count_as_earlier() {
    let mut replies = Replies::default();
    replies.push(set());
    assert!(!replies.closed_groups_change_setting());
    replies.push(Reply::client(Kind::Sync));
    assert!(replies.closed_groups_change_setting());
    replies.pop();
    assert!(!replies.closed_groups_change_setting() && replies.has_closed_groups());
    replies.pop();
    assert!(replies.is_empty() && !replies.has_closed_groups());
}

#[test]
fn statements_of_a_query_count_until_each_is_answered() {
    let slot = |effect| Slot {
        owner: Owner::Client,
        outcome: Some(Outcome::Timeline(effect)),
    };
    let query = QueryReplies {
        slots: [slot(Effect::Begin), slot(Effect::Reset(Scope::Session))].into(),
        insertions: Vec::new(),
    };
    let mut replies = Replies::default();
    replies.push(Reply::client(Kind::Query(Some(Box::new(query)))));
    let counts = |replies: &Replies| {
        (
            replies.closed_groups_control_transaction(),
            replies.closed_groups_change_setting(),
        )
    };
    assert_eq!(counts(&replies), (true, true));
    replies.pop_slot();
    assert_eq!(counts(&replies), (false, true));
    replies.pop_slot();
    assert_eq!(counts(&replies), (false, false));
}
