-- What changes_history, changes_as_of and changes_diff answer, case by case; the first wrong answer is an error that names
-- it. tests/track_functions.rs runs this on one plain table and on a partitioned one. @schema@ is the destination schema.
--
-- Every case has a table of its own in `changes`. Time is minutes of one hour; rows of one minute are one transaction.

-- A caller's search path must not matter: here `=` of text, `||` of jsonb and some functions are other ones.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.wrong(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE FUNCTION hostile.wrong(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"hostile"'::jsonb $$;
CREATE FUNCTION hostile.wrong(jsonb, text) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"hostile"'::jsonb $$;
CREATE FUNCTION hostile.jsonb_object_keys(jsonb) RETURNS SETOF text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE FUNCTION hostile.jsonb_array_elements_text(jsonb) RETURNS SETOF text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.wrong);
CREATE OPERATOR hostile.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = hostile.wrong);
CREATE OPERATOR hostile.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = hostile.wrong);
CREATE TABLE hostile.changes (id int);

CREATE SEQUENCE pg_temp.ordinal;

CREATE FUNCTION pg_temp.at(minute int) RETURNS timestamptz IMMUTABLE LANGUAGE sql
    RETURN timestamptz '2026-01-01 12:00:00Z' + minute * interval '1 minute';

CREATE FUNCTION pg_temp.change(
    minute int, "table" text, operation text, primary_key text, before jsonb, after jsonb,
    incomplete jsonb DEFAULT NULL, previous text DEFAULT NULL, schema text DEFAULT 'public', database text DEFAULT 'app'
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO @schema@.changes
        (id, database, schema, "table", primary_key, previous_primary_key, operation, before, after, incomplete,
         committed_at, queued_at, transaction_id, position)
    SELECT lpad(to_hex(n), 32, '0')::uuid, $10, $9, $2, $4, $8, $3, $5, $6, $7, pg_temp.at($1), now(), $1, n
      FROM nextval('pg_temp.ordinal') n
$$;

CREATE FUNCTION pg_temp.same(what text, answer text, expected text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF answer IS DISTINCT FROM expected THEN
        RAISE EXCEPTION E'%\n   answer:   %\n   expected: %', what, coalesce(answer, 'NULL'), coalesce(expected, 'NULL');
    END IF;
END $$;

-- The three functions, called with the hostile search path.
CREATE FUNCTION pg_temp.as_of("table" text, key text, minute int, schema text DEFAULT 'public', database text DEFAULT NULL)
RETURNS text LANGUAGE sql SET search_path = hostile, pg_catalog
    AS $$ SELECT @schema@.changes_as_of($1, $2, pg_temp.at($3), $4, $5)::text $$;

-- As `minute operation`, parted by commas.
CREATE FUNCTION pg_temp.history("table" text, key text, schema text DEFAULT 'public', database text DEFAULT NULL)
RETURNS text LANGUAGE sql SET search_path = hostile, pg_catalog AS $$
    SELECT string_agg(concat_ws(' ', c.transaction_id, c.operation), ', ' ORDER BY ordinality)
      FROM @schema@.changes_history($1, $2, $3, $4) WITH ORDINALITY c
$$;

-- Of the last change of a table, as `column: before > after`, `?` behind those that may be the same.
CREATE FUNCTION pg_temp.diff("table" text) RETURNS text LANGUAGE sql SET search_path = hostile, pg_catalog AS $$
    SELECT string_agg(format('%s: %s > %s%s', d."column", coalesce(d.before::text, '-'), coalesce(d.after::text, '-'),
                             CASE WHEN NOT d.known THEN '?' END), ', ' ORDER BY ordinality)
      FROM (SELECT c AS change FROM @schema@.changes c WHERE c."table" OPERATOR(pg_catalog.=) $1
             ORDER BY c.id DESC LIMIT 1) last
     CROSS JOIN LATERAL @schema@.changes_diff(last.change) WITH ORDINALITY d
$$;

DO $$ BEGIN
    PERFORM pg_temp.change(1, 'plain', 'CREATE', '1', NULL, '{"id": 1, "task": "Sleep", "due": null}'),
            pg_temp.change(2, 'plain', 'UPDATE', '1', '{"id": 1, "task": "Sleep", "due": null}', '{"id": 1, "task": "Eat", "due": null}'),
            pg_temp.change(2, 'plain', 'CREATE', '2', NULL, '{"id": 2, "task": "Other", "due": null}'),
            pg_temp.change(3, 'plain', 'DELETE', '1', '{"id": 1, "task": "Eat", "due": null}', NULL);
    PERFORM pg_temp.same('before the first change', pg_temp.as_of('plain', '1', 0), NULL),
            pg_temp.same('created', pg_temp.as_of('plain', '1', 1), '{"id": 1, "due": null, "task": "Sleep"}'),
            pg_temp.same('updated', pg_temp.as_of('plain', '1', 2), '{"id": 1, "due": null, "task": "Eat"}'),
            pg_temp.same('deleted', pg_temp.as_of('plain', '1', 3), NULL),
            pg_temp.same('the other one is still there', pg_temp.as_of('plain', '2', 9), '{"id": 2, "due": null, "task": "Other"}'),
            pg_temp.same('a key that never was', pg_temp.as_of('plain', '3', 9), NULL),
            pg_temp.same('a table that never was', pg_temp.as_of('nowhere', '1', 9), NULL),
            pg_temp.same('no key', pg_temp.as_of('plain', NULL, 9), NULL),
            pg_temp.same('no key has no history', pg_temp.history('plain', NULL), NULL),
            pg_temp.same('no time', pg_temp.as_of('plain', '2', NULL), NULL),
            pg_temp.same('history', pg_temp.history('plain', '1'), '1 CREATE, 2 UPDATE, 3 DELETE'),
            pg_temp.same('history of what never was', pg_temp.history('plain', '3'), NULL);
END $$;

DO $$ BEGIN  -- Deleted and created again.
    PERFORM pg_temp.change(1, 'again', 'CREATE', '1', NULL, '{"id": 1, "n": 1}'),
            pg_temp.change(2, 'again', 'DELETE', '1', '{"id": 1, "n": 1}', NULL),
            pg_temp.change(3, 'again', 'CREATE', '1', NULL, '{"id": 1, "n": 3}');
    PERFORM pg_temp.same('between', pg_temp.as_of('again', '1', 2), NULL),
            pg_temp.same('again', pg_temp.as_of('again', '1', 3), '{"n": 3, "id": 1}'),
            pg_temp.same('history of both', pg_temp.history('again', '1'), '1 CREATE, 2 DELETE, 3 CREATE');
END $$;

DO $$ BEGIN  -- All in one transaction: the order is that of id, not of the time.
    PERFORM pg_temp.change(1, 'at_once', 'CREATE', '1', NULL, '{"id": 1, "n": 1}'),
            pg_temp.change(1, 'at_once', 'DELETE', '1', '{"id": 1, "n": 1}', NULL),
            pg_temp.change(1, 'at_once', 'CREATE', '1', NULL, '{"id": 1, "n": 2}'),
            pg_temp.change(1, 'at_once', 'UPDATE', '1', '{"id": 1, "n": 2}', '{"id": 1, "n": 3}');
    -- Stored in another order.
    WITH taken AS (DELETE FROM @schema@.changes c WHERE c."table" = 'at_once' RETURNING c.*)
    INSERT INTO @schema@.changes SELECT * FROM taken ORDER BY id DESC;
    PERFORM pg_temp.same('the last of one transaction', pg_temp.as_of('at_once', '1', 1), '{"n": 3, "id": 1}'),
            pg_temp.same('history of one transaction', pg_temp.history('at_once', '1'), '1 CREATE, 1 DELETE, 1 CREATE, 1 UPDATE');
END $$;

DO $$ BEGIN  -- A key moved away, taken by another record, and moved back.
    PERFORM pg_temp.change(1, 'moved', 'CREATE', '1', NULL, '{"id": 1, "who": "a"}'),
            pg_temp.change(2, 'moved', 'UPDATE', '2', '{"id": 1}', '{"id": 2, "who": "a"}', '{"before": "key"}', '1'),
            pg_temp.change(3, 'moved', 'CREATE', '1', NULL, '{"id": 1, "who": "b"}'),
            pg_temp.change(4, 'moved', 'DELETE', '1', '{"id": 1, "who": "b"}', NULL),
            pg_temp.change(5, 'moved', 'UPDATE', '1', '{"id": 2, "who": "a"}', '{"id": 1, "who": "a"}', NULL, '2');
    PERFORM pg_temp.same('moved away', pg_temp.as_of('moved', '1', 2), NULL),
            pg_temp.same('moved here', pg_temp.as_of('moved', '2', 2), '{"id": 2, "who": "a"}'),
            pg_temp.same('taken by another', pg_temp.as_of('moved', '1', 3), '{"id": 1, "who": "b"}'),
            pg_temp.same('and deleted', pg_temp.as_of('moved', '1', 4), NULL),
            pg_temp.same('moved back', pg_temp.as_of('moved', '1', 5), '{"id": 1, "who": "a"}'),
            pg_temp.same('and is not there', pg_temp.as_of('moved', '2', 5), NULL),
            pg_temp.same('history of 1', pg_temp.history('moved', '1'), '1 CREATE, 2 UPDATE, 3 CREATE, 4 DELETE, 5 UPDATE'),
            pg_temp.same('history of 2', pg_temp.history('moved', '2'), '2 UPDATE, 5 UPDATE');
END $$;

DO $$ BEGIN  -- Two records change places in one transaction, over a third key.
    PERFORM pg_temp.change(1, 'swap', 'CREATE', '1', NULL, '{"id": 1, "who": "a"}'),
            pg_temp.change(1, 'swap', 'CREATE', '2', NULL, '{"id": 2, "who": "b"}'),
            pg_temp.change(2, 'swap', 'UPDATE', '0', '{"id": 1}', '{"id": 0, "who": "a"}', '{"before": "key"}', '1'),
            pg_temp.change(2, 'swap', 'UPDATE', '1', '{"id": 2}', '{"id": 1, "who": "b"}', '{"before": "key"}', '2'),
            pg_temp.change(2, 'swap', 'UPDATE', '2', '{"id": 0}', '{"id": 2, "who": "a"}', '{"before": "key"}', '0');
    PERFORM pg_temp.same('b is 1', pg_temp.as_of('swap', '1', 2), '{"id": 1, "who": "b"}'),
            pg_temp.same('a is 2', pg_temp.as_of('swap', '2', 2), '{"id": 2, "who": "a"}'),
            pg_temp.same('nobody is 0', pg_temp.as_of('swap', '0', 2), NULL);
END $$;

DO $$ BEGIN  -- Keys of several columns.
    PERFORM pg_temp.change(1, 'composite', 'CREATE', '[1,"a"]', NULL, '{"list": 1, "item": "a"}'),
            pg_temp.change(2, 'composite', 'UPDATE', '[1,"b"]', '{"list": 1, "item": "a"}', '{"list": 1, "item": "b"}', NULL, '[1,"a"]');
    PERFORM pg_temp.same('of several columns', pg_temp.as_of('composite', '[1,"a"]', 1), '{"item": "a", "list": 1}'),
            pg_temp.same('of several columns, moved', pg_temp.as_of('composite', '[1,"a"]', 2), NULL),
            pg_temp.same('of several columns, here', pg_temp.history('composite', '[1,"b"]'), '2 UPDATE');
END $$;

DO $$ BEGIN  -- TRUNCATE ends what was there, and belongs to the history of nothing else.
    PERFORM pg_temp.change(1, 'emptied', 'TRUNCATE', NULL, NULL, NULL),
            pg_temp.change(2, 'emptied', 'CREATE', '1', NULL, '{"id": 1}'),
            pg_temp.change(2, 'emptied', 'CREATE', '2', NULL, '{"id": 2}'),
            pg_temp.change(3, 'emptied', 'DELETE', '2', '{"id": 2}', NULL),
            pg_temp.change(4, 'emptied', 'UPDATE', '3', '{"id": 1}', '{"id": 3}', NULL, '1'),
            pg_temp.change(5, 'emptied', 'TRUNCATE', NULL, NULL, NULL),
            pg_temp.change(5, 'emptied', 'CREATE', '4', NULL, '{"id": 4}'),
            pg_temp.change(6, 'emptied', 'TRUNCATE', NULL, NULL, NULL, NULL, NULL, 'other'),
            pg_temp.change(7, 'emptied', 'CREATE', NULL, NULL, '{"no": "key"}');
    PERFORM pg_temp.same('there before', pg_temp.as_of('emptied', '3', 4), '{"id": 3}'),
            pg_temp.same('emptied', pg_temp.as_of('emptied', '3', 9), NULL),
            pg_temp.same('created after it, in its transaction', pg_temp.as_of('emptied', '4', 9), '{"id": 4}'),
            pg_temp.same('emptied: history of what it took', pg_temp.history('emptied', '3'), '4 UPDATE, 5 TRUNCATE'),
            pg_temp.same('emptied: history of what was deleted', pg_temp.history('emptied', '2'), '2 CREATE, 3 DELETE'),
            pg_temp.same('emptied: history of what had moved', pg_temp.history('emptied', '1'), '2 CREATE, 4 UPDATE'),
            pg_temp.same('emptied: history of what came later', pg_temp.history('emptied', '4'), '5 CREATE'),
            pg_temp.same('emptied: no history of its own', pg_temp.history('emptied', '9'), NULL);
END $$;

DO $$ BEGIN  -- Large values that are not in the log are in the last change that touched them.
    PERFORM pg_temp.change(1, 'large', 'CREATE', '1', NULL, '{"id": 1, "a": "A1", "b": "B1", "n": 1}'),
            pg_temp.change(2, 'large', 'UPDATE', '1', NULL, '{"id": 1, "b": "B2", "n": 2}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(3, 'large', 'UPDATE', '1', NULL, '{"id": 1, "n": 3}', '{"before": "nothing", "after": ["a", "b"]}'),
            pg_temp.change(4, 'large', 'UPDATE', '1', NULL, '{"id": 1, "a": null, "n": 4}', '{"before": "nothing", "after": ["b"]}'),
            pg_temp.change(5, 'large', 'UPDATE', '1', NULL, '{"id": 1, "n": 5}', '{"before": "nothing", "after": ["a", "b"]}');
    PERFORM pg_temp.same('large: one change back', pg_temp.as_of('large', '1', 2), '{"a": "A1", "b": "B2", "n": 2, "id": 1}'),
            pg_temp.same('large: each from its own', pg_temp.as_of('large', '1', 3), '{"a": "A1", "b": "B2", "n": 3, "id": 1}'),
            pg_temp.same('large: NULL is a value', pg_temp.as_of('large', '1', 4), '{"a": null, "b": "B2", "n": 4, "id": 1}'),
            pg_temp.same('large: NULL is found', pg_temp.as_of('large', '1', 5), '{"a": null, "b": "B2", "n": 5, "id": 1}'),
            pg_temp.same('large: is no change', pg_temp.diff('large'), 'id: - > 1?, n: - > 5?');
END $$;

DO $$ BEGIN  -- The same behind a key that changed, more than once.
    PERFORM pg_temp.change(1, 'large_moved', 'CREATE', '1', NULL, '{"id": 1, "a": "A1"}'),
            pg_temp.change(2, 'large_moved', 'UPDATE', '2', '{"id": 1}', '{"id": 2}', '{"before": "key", "after": ["a"]}', '1'),
            pg_temp.change(2, 'large_moved', 'CREATE', '1', NULL, '{"id": 1, "a": "another"}'),
            pg_temp.change(3, 'large_moved', 'UPDATE', '2', NULL, '{"id": 2}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(4, 'large_moved', 'UPDATE', '3', '{"id": 2}', '{"id": 3}', '{"before": "key", "after": ["a"]}', '2'),
            pg_temp.change(5, 'large_moved', 'UPDATE', '3', NULL, '{"id": 3}', '{"before": "nothing", "after": ["a"]}');
    PERFORM pg_temp.same('large, moved once', pg_temp.as_of('large_moved', '2', 3), '{"a": "A1", "id": 2}'),
            pg_temp.same('large, moved twice', pg_temp.as_of('large_moved', '3', 5), '{"a": "A1", "id": 3}'),
            pg_temp.same('large, the other record', pg_temp.as_of('large_moved', '1', 5), '{"a": "another", "id": 1}'),
            pg_temp.same('large, moved: the key did change', pg_temp.history('large_moved', '2'), '2 UPDATE, 3 UPDATE, 4 UPDATE');
END $$;

DO $$ BEGIN  -- Nothing is borrowed from an earlier record of the same key, nor from before a change that hides the value.
    PERFORM pg_temp.change(1, 'unknown', 'CREATE', '1', NULL, '{"id": 1, "a": "old"}'),
            pg_temp.change(2, 'unknown', 'DELETE', '1', '{"id": 1}', NULL, '{"before": "key"}'),
            pg_temp.change(4, 'unknown', 'UPDATE', '1', NULL, '{"id": 1}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(1, 'unknown', 'CREATE', '2', NULL, '{"id": 2, "a": "old"}'),
            pg_temp.change(4, 'unknown', 'UPDATE', '2', NULL, '{"id": 2}', '{"before": "nothing", "too_long": ["a"]}'),
            pg_temp.change(5, 'unknown', 'UPDATE', '2', NULL, '{"id": 2}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(5, 'unknown', 'UPDATE', '3', NULL, '{"id": 3}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(1, 'unknown', 'CREATE', '4', NULL, '{"id": 4, "a": "old"}'),
            pg_temp.change(5, 'unknown', 'UPDATE', '5', '{"id": 4}', '{"id": 5, "a": "old"}', '{"before": "key"}', '4'),
            pg_temp.change(6, 'unknown', 'UPDATE', '4', NULL, '{"id": 4}', '{"before": "nothing", "after": ["a"]}'),
            pg_temp.change(7, 'unknown', 'TRUNCATE', NULL, NULL, NULL),
            pg_temp.change(8, 'unknown', 'UPDATE', '2', NULL, '{"id": 2}', '{"before": "nothing", "after": ["a"]}');
    PERFORM pg_temp.same('unknown: deleted before', pg_temp.as_of('unknown', '1', 5), '{"id": 1}'),
            pg_temp.same('unknown: too long in between', pg_temp.as_of('unknown', '2', 5), '{"id": 2}'),
            pg_temp.same('unknown: never recorded', pg_temp.as_of('unknown', '3', 5), '{"id": 3}'),
            pg_temp.same('unknown: moved away before', pg_temp.as_of('unknown', '4', 6), '{"id": 4}'),
            pg_temp.same('unknown: emptied before', pg_temp.as_of('unknown', '2', 8), '{"id": 2}');
END $$;

DO $$ BEGIN  -- A column that was dropped or redacted later does not come back with a large value.
    PERFORM pg_temp.change(1, 'dropped', 'CREATE', '1', NULL, '{"id": 1, "a": "A1", "gone": 1, "secret": 1}'),
            pg_temp.change(2, 'dropped', 'UPDATE', '1', NULL, '{"id": 1}',
                           '{"before": "nothing", "after": ["a"], "redacted": {"secret": "unknown"}}');
    PERFORM pg_temp.same('dropped and redacted', pg_temp.as_of('dropped', '1', 2), '{"a": "A1", "id": 1}');
END $$;

DO $$ BEGIN  -- Tables of one name in several schemas and databases.
    PERFORM pg_temp.change(1, 'shared', 'CREATE', '1', NULL, '{"in": "public"}'),
            pg_temp.change(2, 'shared', 'CREATE', '1', NULL, '{"in": "other"}', schema => 'other'),
            pg_temp.change(3, 'shared', 'CREATE', '1', NULL, '{"in": "second"}', database => 'second'),
            pg_temp.change(4, 'shared', 'TRUNCATE', NULL, NULL, NULL, schema => 'other'),
            pg_temp.change(5, 'shared', 'TRUNCATE', NULL, NULL, NULL, database => 'second'),
            pg_temp.change(6, 'shared', 'UPDATE', '2', '{}', '{}', '{"before": "key"}', '1', database => 'second'),
            pg_temp.change(7, 'shared', 'TRUNCATE', NULL, NULL, NULL, database => 'backup');
    PERFORM pg_temp.same('schema public', pg_temp.as_of('shared', '1', 9, 'public', 'app'), '{"in": "public"}'),
            pg_temp.same('schema other, before', pg_temp.as_of('shared', '1', 3, 'other'), '{"in": "other"}'),
            pg_temp.same('schema other, after', pg_temp.as_of('shared', '1', 9, 'other'), NULL),
            pg_temp.same('second database, before', pg_temp.as_of('shared', '1', 4, 'public', 'second'), '{"in": "second"}'),
            pg_temp.same('second database, after', pg_temp.as_of('shared', '1', 9, 'public', 'second'), NULL),
            pg_temp.same('any database', pg_temp.as_of('shared', '1', 1), '{"in": "public"}'),
            pg_temp.same('history in public', pg_temp.history('shared', '1', 'public', 'app'), '1 CREATE'),
            pg_temp.same('history in other', pg_temp.history('shared', '1', 'other'), '2 CREATE, 4 TRUNCATE'),
            pg_temp.same('history in second', pg_temp.history('shared', '1', 'public', 'second'), '3 CREATE, 5 TRUNCATE, 6 UPDATE'),
            pg_temp.same('history in any', pg_temp.history('shared', '1'), '1 CREATE, 3 CREATE, 5 TRUNCATE, 6 UPDATE');
END $$;

-- changes_diff.
DO $$ BEGIN
    PERFORM pg_temp.change(1, 'diff_create', 'CREATE', '1', NULL, '{"id": 1, "due": null, "secret": "x"}', '{"redacted": {"pin": "present"}}');
    PERFORM pg_temp.same('diff: CREATE', pg_temp.diff('diff_create'), 'due: - > null, id: - > 1, pin: - > -, secret: - > "x"');
    PERFORM pg_temp.change(1, 'diff_delete', 'DELETE', '1', '{"id": 1, "due": null}', NULL);
    PERFORM pg_temp.same('diff: DELETE', pg_temp.diff('diff_delete'), 'due: null > -, id: 1 > -');
    PERFORM pg_temp.change(1, 'diff_delete_key', 'DELETE', '1', '{"id": 1}', NULL, '{"before": "key"}');
    PERFORM pg_temp.same('diff: DELETE of which the key is known', pg_temp.diff('diff_delete_key'), 'id: 1 > -');
    PERFORM pg_temp.change(1, 'diff_delete_nothing', 'DELETE', NULL, NULL, NULL, '{"before": "nothing"}');
    PERFORM pg_temp.same('diff: DELETE of which nothing is known', pg_temp.diff('diff_delete_nothing'), NULL);
    PERFORM pg_temp.change(1, 'diff_truncate', 'TRUNCATE', NULL, NULL, NULL);
    PERFORM pg_temp.same('diff: TRUNCATE', pg_temp.diff('diff_truncate'), NULL);

    PERFORM pg_temp.change(1, 'diff_full', 'UPDATE', '1',
        '{"id": 1, "task": "a", "due": null, "n": 1, "note": "x", "json": {"k": null, "l": [1, 2]}}',
        '{"id": 1, "task": "b", "due": "2026-01-01", "n": 1, "note": null, "json": {"l": [1, 2], "k": null}}');
    PERFORM pg_temp.same('diff: UPDATE', pg_temp.diff('diff_full'), 'due: null > "2026-01-01", note: "x" > null, task: "a" > "b"');
    PERFORM pg_temp.change(1, 'diff_same', 'UPDATE', '1', '{"id": 1, "due": null}', '{"id": 1, "due": null}');
    PERFORM pg_temp.same('diff: UPDATE that changes nothing', pg_temp.diff('diff_same'), NULL);
    PERFORM pg_temp.change(1, 'diff_types', 'UPDATE', '1', '{"a": "1", "b": "null", "c": false}', '{"a": 1, "b": null, "c": 0}');
    PERFORM pg_temp.same('diff: the types count', pg_temp.diff('diff_types'), 'a: "1" > 1, b: "null" > null, c: false > 0');

    PERFORM pg_temp.change(1, 'diff_nothing', 'UPDATE', '1', NULL, '{"id": 1, "task": "b", "due": null}', '{"before": "nothing"}');
    PERFORM pg_temp.same('diff: no old row', pg_temp.diff('diff_nothing'), 'due: - > null?, id: - > 1?, task: - > "b"?');
    PERFORM pg_temp.change(1, 'diff_key', 'UPDATE', '2', '{"id": 1}', '{"id": 2, "task": "b"}', '{"before": "key"}', '1');
    PERFORM pg_temp.same('diff: old key only', pg_temp.diff('diff_key'), 'id: 1 > 2, task: - > "b"?');
    PERFORM pg_temp.change(1, 'diff_key_same', 'UPDATE', '1', '{"id": 1, "key": 1}', '{"id": 1, "key": 2, "task": "b"}', '{"before": "key"}');
    PERFORM pg_temp.same('diff: of two key columns one', pg_temp.diff('diff_key_same'), 'key: 1 > 2, task: - > "b"?');

    PERFORM pg_temp.change(1, 'diff_large', 'UPDATE', '1', '{"id": 1, "n": 1, "large": "x"}', '{"id": 1, "n": 2}', '{"after": ["large"]}');
    PERFORM pg_temp.same('diff: a large value that did not change', pg_temp.diff('diff_large'), 'n: 1 > 2');
    PERFORM pg_temp.change(1, 'diff_redacted', 'UPDATE', '1', '{"id": 1}', '{"id": 1}',
        '{"redacted": {"pin": "changed", "password": "unchanged", "token": "unknown"}}');
    PERFORM pg_temp.same('diff: redacted', pg_temp.diff('diff_redacted'), 'pin: - > -, token: - > -?');
    PERFORM pg_temp.change(1, 'diff_masked', 'UPDATE', '1', '{"id": 1, "pin": "***", "password": "***"}',
        '{"id": 1, "pin": "***", "password": "***", "token": "***"}',
        '{"before": "key", "redacted": {"pin": "changed", "password": "unchanged", "token": "unknown"}}');
    PERFORM pg_temp.same('diff: masked', pg_temp.diff('diff_masked'), 'pin: "***" > "***", token: - > "***"?');
    PERFORM pg_temp.change(1, 'diff_left_out', 'UPDATE', '1', '{"id": 1, "was": "short"}', '{"id": 1, "is": "short"}',
        '{"too_long": ["was", "is", "both"]}');
    PERFORM pg_temp.same('diff: too long', pg_temp.diff('diff_left_out'), 'both: - > -?, is: - > "short"?, was: "short" > -?');
END $$;

-- With a row of a query, as the manual of the table shows it.
DO $$ BEGIN
    PERFORM pg_temp.same('diff of a history', (
        SELECT string_agg(format('%s %s', h.operation, d."column"), ', ' ORDER BY h.id, d."column")
          FROM @schema@.changes_history('plain', '1') h CROSS JOIN LATERAL @schema@.changes_diff(h) d
         WHERE h.operation = 'UPDATE'), 'UPDATE task');
END $$;

-- Few pages are read, also for a record that changed often, also where many of its changes lack a large value.
DO $$
DECLARE
    plan json;
    call text;
    pages int;
BEGIN
    INSERT INTO @schema@.changes
        (id, database, schema, "table", primary_key, operation, after, incomplete, committed_at, queued_at, transaction_id, position)
    SELECT lpad(to_hex(1000000 + n), 32, '0')::uuid, 'app', 'public', 'many', CASE WHEN n % 2 = 0 THEN 'hot' ELSE n::text END, 'CREATE',
           jsonb_build_object('n', n, 'text', repeat('x', 100)), NULL, pg_temp.at(n), now(), n, n
      FROM generate_series(1, 20000) n;
    EXECUTE 'ANALYZE @schema@.changes';
    FOREACH call IN ARRAY ARRAY[
        $c$changes_as_of('many', 'hot', 'infinity')$c$,
        $c$changes_as_of('many', '77', 'infinity')$c$,
        $c$changes_history('many', '77')$c$
    ] LOOP
        -- The first call also reads the catalogs.
        EXECUTE 'SELECT @schema@.' || call;
        EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT @schema@.' || call INTO plan;
        pages := (plan #>> '{0,Plan,Shared Hit Blocks}')::int + (plan #>> '{0,Plan,Shared Read Blocks}')::int;
        IF pages > 100 THEN
            RAISE EXCEPTION '% reads % pages', call, pages;
        END IF;
    END LOOP;
END $$;
