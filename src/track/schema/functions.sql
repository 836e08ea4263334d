-- Questions about one record.
--
-- `database` NULL means any: name it where changes of several databases that have tables of the same name come together.
-- The search path is pinned: a caller's may hold operators of the same names.

-- All changes of one record, oldest first: also the UPDATE that gave it another primary key, and the TRUNCATE that took it.
CREATE FUNCTION @schema@.changes_history(
    "table" text, primary_key text, schema text DEFAULT 'public', database text DEFAULT NULL
) RETURNS SETOF @schema@.changes
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    change @schema@.changes;
    -- The database where the change before this one left the record in its table.
    there_in text;
BEGIN
    FOR change IN
        SELECT c.* FROM @schema@.changes c
         WHERE c."table" = $1 AND c.schema = $3 AND ($4 IS NULL OR c.database = $4)
           AND (c.primary_key = $2 OR c.previous_primary_key = $2 OR c.operation = 'TRUNCATE')
         ORDER BY c.database, c.committed_at, c.id
    LOOP
        IF change.operation <> 'TRUNCATE' OR change.database = there_in THEN
            RETURN NEXT change;
        END IF;
        there_in := CASE WHEN change.operation IN ('CREATE', 'UPDATE') AND change.primary_key = $2 THEN change.database END;
    END LOOP;
END
$function$;

-- The record as it was at that time; NULL: it was not there, or nothing of it has been recorded by then. A column whose
-- value has not been recorded by then is left out.
CREATE FUNCTION @schema@.changes_as_of(
    "table" text, primary_key text, at timestamptz, schema text DEFAULT 'public', database text DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
-- One plan for all records: for one that is half of the table, another would look promising and read all of it.
SET plan_cache_mode = force_generic_plan AS $function$
DECLARE
    record jsonb;
    -- Large values that a change did not touch are not in it, but in the last one that did: columns that are still sought.
    sought jsonb;
    key text := $2;
    change @schema@.changes;
BEGIN
    change.committed_at := $3;
    change.id := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    LOOP
        -- The change before `change` that gave the record its values (of the columns sought, if any), took its key away, or
        -- emptied the table: the last of each kind, which is one step in an index, and of these the last.
        SELECT last.* INTO change FROM (
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.primary_key = key AND c.schema = $4 AND ($5 IS NULL OR c.database = $5)
                AND (c.committed_at, c.id) < (change.committed_at, change.id)
                AND (c.previous_primary_key IS NOT NULL OR (c.incomplete -> 'after' @> sought) IS NOT TRUE)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.previous_primary_key = key AND c.schema = $4 AND ($5 IS NULL OR c.database = $5)
                AND (c.committed_at, c.id) < (change.committed_at, change.id)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.operation = 'TRUNCATE' AND c.schema = $4 AND ($5 IS NULL OR c.database = $5)
                AND (c.committed_at, c.id) < (change.committed_at, change.id)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
        ) last
         ORDER BY last.committed_at DESC, last.id DESC LIMIT 1;
        -- Nothing, or the end of an earlier record of this key: what is still sought has not been recorded.
        EXIT WHEN NOT FOUND OR change.operation IN ('DELETE', 'TRUNCATE') OR change.primary_key IS DISTINCT FROM key;

        record := coalesce(record, '{}') || coalesce((
            SELECT jsonb_object_agg(a.key, a.value) FROM jsonb_each(change.after) a
             WHERE sought IS NULL OR sought ? a.key), '{}');
        sought := (
            SELECT jsonb_agg(n.name) FROM jsonb_array_elements_text(change.incomplete -> 'after') n (name)
             WHERE sought IS NULL OR sought ? n.name);
        EXIT WHEN sought IS NULL;
        key := coalesce(change.previous_primary_key, key);
    END LOOP;
    RETURN record;
END
$function$;

-- The columns that a change changed. `known` is false where the log does not say: it has no old value, so that the new one
-- may be the same.
CREATE FUNCTION @schema@.changes_diff(change @schema@.changes)
RETURNS TABLE ("column" text, "before" jsonb, "after" jsonb, known boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS $function$
    SELECT of.name, $1.before -> of.name, $1.after -> of.name, said.what <> 'unknown'
      FROM (SELECT jsonb_object_keys($1.before)
            UNION SELECT jsonb_object_keys($1.after)
            UNION SELECT jsonb_object_keys($1.incomplete -> 'redacted')
            UNION SELECT jsonb_array_elements_text($1.incomplete -> 'too_long')) of (name)
      CROSS JOIN LATERAL (SELECT CASE
                WHEN $1.operation <> 'UPDATE' THEN 'changed'
                WHEN $1.incomplete -> 'redacted' ? of.name THEN $1.incomplete -> 'redacted' ->> of.name
                WHEN $1.incomplete -> 'after' ? of.name THEN 'unchanged'
                WHEN $1.before -> of.name = $1.after -> of.name THEN 'unchanged'
                WHEN $1.before ? of.name AND $1.after ? of.name THEN 'changed'
                ELSE 'unknown'
            END) said (what)
     WHERE said.what <> 'unchanged'
     ORDER BY of.name
$function$;
