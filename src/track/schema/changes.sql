-- The table changes, and what stands beside it.

CREATE TABLE @schema@.changes (
    id uuid NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    primary_key text,
    previous_primary_key text,
    operation text NOT NULL,
    before jsonb,
    after jsonb,
    incomplete jsonb,
    context jsonb NOT NULL DEFAULT '{}',
    committed_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (@primary_key@)
) @partitioning@;

COMMENT ON TABLE @schema@.changes IS 'Every row change, with the context it was made in. Written by bemi track.';
COMMENT ON COLUMN @schema@.changes.id IS 'From commit position, ordinal in the transaction and system: orders as the source committed.';
COMMENT ON COLUMN @schema@.changes.primary_key IS 'After the change (DELETE: before it). One column as text, several as a JSON array, none as NULL.';
COMMENT ON COLUMN @schema@.changes.previous_primary_key IS 'Before an UPDATE that changed it, else NULL.';
COMMENT ON COLUMN @schema@.changes.operation IS 'CREATE, UPDATE, DELETE or TRUNCATE.';
COMMENT ON COLUMN @schema@.changes.before IS 'The row before; NULL where there was none, or the log has nothing of it (see incomplete).';
COMMENT ON COLUMN @schema@.changes.after IS 'The row after; NULL where there is none.';
COMMENT ON COLUMN @schema@.changes.incomplete IS 'What before and after do not say, and why; NULL: they say everything.';
COMMENT ON COLUMN @schema@.changes.context IS 'Who, where, why. Empty: nobody said.';
COMMENT ON COLUMN @schema@.changes.committed_at IS 'When the source committed it.';
COMMENT ON COLUMN @schema@.changes.queued_at IS 'When bemi track read it.';
COMMENT ON COLUMN @schema@.changes.created_at IS 'When it was stored here.';
COMMENT ON COLUMN @schema@.changes.transaction_id IS 'The source''s transaction id.';
COMMENT ON COLUMN @schema@.changes.position IS 'Of the change in the source''s write-ahead log, in bytes.';

CREATE INDEX changes_committed_at_idx ON @schema@.changes (committed_at);
-- `id` makes the order within one transaction the index's own: the last change of a record is one step, however many it has.
CREATE INDEX changes_record_idx ON @schema@.changes ("table", primary_key, committed_at, id);
CREATE INDEX changes_moved_record_idx ON @schema@.changes ("table", previous_primary_key, committed_at, id)
    WHERE previous_primary_key IS NOT NULL;
-- What was deleted, and whether a TRUNCATE took it.
CREATE INDEX changes_removed_idx ON @schema@.changes ("table", operation, committed_at, id)
    WHERE operation IN ('DELETE', 'TRUNCATE');
CREATE INDEX changes_context_idx ON @schema@.changes USING gin (context jsonb_path_ops);
CREATE INDEX changes_before_idx ON @schema@.changes USING gin (before jsonb_path_ops);
CREATE INDEX changes_after_idx ON @schema@.changes USING gin (after jsonb_path_ops);

-- How far each slot has been stored. Always at or behind the slot itself; changed in the transaction that stores the rows.
CREATE TABLE @schema@.changes_progress (
    slot text NOT NULL,
    database text NOT NULL,
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    lsn pg_lsn,
    committed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot, database)
) WITH (fillfactor = 50);

COMMENT ON COLUMN @schema@.changes_progress.lsn IS 'Everything committed before is in changes. NULL: the slot is about to be made.';
COMMENT ON COLUMN @schema@.changes_progress.committed_at IS 'Commit time of the last change that was stored.';

-- Stretches of the log whose changes are not in `changes`.
CREATE TABLE @schema@.changes_gaps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot text NOT NULL,
    database text NOT NULL,
    schema text,
    "table" text,
    from_lsn pg_lsn,
    to_lsn pg_lsn,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON COLUMN @schema@.changes_gaps."table" IS 'The one table concerned; NULL: all of them.';
