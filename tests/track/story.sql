-- What bemi track stores of the example in examples/models/README.md.

INSERT INTO changes (id, database, schema, "table", operation, primary_key, before, after, context, committed_at, queued_at,
                     transaction_id, position)
SELECT lpad(to_hex(ordinal), 32, '0')::uuid, 'app', 'public', 'todo', operation, primary_key, before, after, context,
       timestamptz '2026-01-01 12:00:00.000123Z' + minute * interval '1 minute', now(), 700 + minute, 1000 + ordinal
  FROM (VALUES
    (1, 0, 'CREATE', '1', NULL::jsonb, '{"id": 1, "task": "Sleep", "done": false}'::jsonb,
     '{"user_id": 187234, "request_id": "r-1", "SQL": "INSERT INTO todo (task) VALUES ($1)"}'::jsonb),
    (2, 1, 'UPDATE', '1', '{"id": 1, "task": "Sleep", "done": false}', '{"id": 1, "task": "Eat", "done": false}',
     '{"user_id": 187234, "request_id": "r-2", "SQL": "UPDATE todo SET task = $1 WHERE id = $2"}'),
    (3, 1, 'CREATE', '2', NULL, '{"id": 2, "task": "Repeat", "done": false}',
     '{"user_id": 187234, "request_id": "r-2", "SQL": "INSERT INTO todo (task) VALUES ($1)"}'),
    (4, 2, 'UPDATE', '2', '{"id": 2, "task": "Repeat", "done": false}', '{"id": 2, "task": "Repeat", "done": true}',
     '{"user_id": 42, "request_id": "r-3", "SQL": "UPDATE todo SET done = true WHERE id = $1"}'),
    (5, 3, 'DELETE', '2', '{"id": 2, "task": "Repeat", "done": true}', NULL,
     '{"user_id": 42, "request_id": "r-4", "SQL": "DELETE FROM todo WHERE id = $1"}'),
    (6, 4, 'CREATE', '3', NULL, '{"id": 3, "task": "Nobody said", "done": false}', '{}')
  ) AS story (ordinal, minute, operation, primary_key, before, after, context);
