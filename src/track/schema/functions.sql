-- Questions about one record. @schema@ is the destination schema, quoted.

-- All changes of one record, oldest first; also those that gave it another primary key, or gave it this one.
CREATE FUNCTION @schema@.changes_history(
    "table" text, primary_key text, schema text DEFAULT 'public', database text DEFAULT NULL
) RETURNS SETOF @schema@.changes LANGUAGE sql STABLE ROWS 100 AS $function$
    SELECT c.* FROM @schema@.changes c
     WHERE c."table" = $1 AND c.primary_key = $2 AND c.schema = $3 AND ($4 IS NULL OR c.database = $4)
    UNION ALL
    SELECT c.* FROM @schema@.changes c
     WHERE c."table" = $1 AND c.previous_primary_key = $2 AND c.previous_primary_key <> c.primary_key
       AND c.schema = $3 AND ($4 IS NULL OR c.database = $4)
     ORDER BY committed_at, id
$function$;

-- The record as it was at that time; NULL: it was not there, or nothing of it has been recorded by then.
CREATE FUNCTION @schema@.changes_as_of(
    "table" text, primary_key text, at timestamptz, schema text DEFAULT 'public', database text DEFAULT NULL
) RETURNS jsonb LANGUAGE sql STABLE AS $function$
    WITH latest AS (
        SELECT event.* FROM (
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.primary_key = $2 AND c.committed_at <= $3 AND c.schema = $4
                AND ($5 IS NULL OR c.database = $5)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.previous_primary_key = $2 AND c.committed_at <= $3 AND c.schema = $4
                AND ($5 IS NULL OR c.database = $5)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM @schema@.changes c
              WHERE c."table" = $1 AND c.primary_key IS NULL AND c.operation = 'TRUNCATE' AND c.committed_at <= $3
                AND c.schema = $4 AND ($5 IS NULL OR c.database = $5)
              ORDER BY c.committed_at DESC, c.id DESC LIMIT 1)
        ) event
         ORDER BY event.committed_at DESC, event.id DESC LIMIT 1
    )
    SELECT latest.after || coalesce(known_earlier.columns, '{}')
      FROM latest
      CROSS JOIN LATERAL (
        -- Large values that a change did not touch are not in it: they are in the last change that did.
        SELECT jsonb_object_agg(missing.name, found.value) AS columns
          FROM jsonb_array_elements_text(coalesce(latest.incomplete -> 'after', '[]')) AS missing (name)
          CROSS JOIN LATERAL (
            SELECT c.after -> missing.name AS value FROM @schema@.changes c
             WHERE c."table" = $1 AND c.primary_key = $2 AND c.committed_at <= $3 AND c.schema = $4
               AND ($5 IS NULL OR c.database = $5) AND c.after ? missing.name
             ORDER BY c.committed_at DESC, c.id DESC LIMIT 1
          ) found
      ) known_earlier
     WHERE latest.operation IN ('CREATE', 'UPDATE') AND latest.primary_key = $2
$function$;

-- The columns that a change changed. `known` is false where the log has no old value, so that it may be the same.
CREATE FUNCTION @schema@.changes_diff(change @schema@.changes)
RETURNS TABLE ("column" text, "before" jsonb, "after" jsonb, known boolean) LANGUAGE sql STABLE ROWS 10 AS $function$
    SELECT key, $1.before -> key, $1.after -> key,
           $1.operation <> 'UPDATE' OR ($1.before ? key AND $1.after ? key)
      FROM (SELECT jsonb_object_keys(coalesce($1.before, '{}')) UNION SELECT jsonb_object_keys(coalesce($1.after, '{}'))) AS k (key)
     WHERE ($1.before -> key) IS DISTINCT FROM ($1.after -> key)
       -- In one of the two only: a key column of a row of which the log has no more, or a large value left out.
       AND ($1.operation <> 'UPDATE' OR $1.after ? key)
    UNION ALL
    SELECT key, NULL, NULL, true
      FROM jsonb_each_text(coalesce($1.incomplete -> 'redacted', '{}')) AS r (key, said)
     WHERE said = 'changed' AND NOT coalesce($1.after ? key, false)
$function$;
