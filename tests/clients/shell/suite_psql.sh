#!/usr/bin/env bash
# psql: its own commands, variables, \copy, \gexec, FETCH_COUNT; the way that most scripts and people write.
set -uo pipefail
export LC_ALL=C.UTF-8 PSQLRC=/dev/null
[ -z "${BEMI_CONTEXT:-}" ] || export PGOPTIONS="-c bemi.context=$BEMI_CONTEXT"

heading() { echo "# $1"; }

# A script on standard input, as psql -f runs it; the process that notifies has another id each time.
script() { psql -X -q "$@" -f - 2>&1 | sed 's/process with PID [0-9]*/process/; s/^psql:<stdin>:/line /'; }

attempt() { psql -X -At "$@" -c "SELECT current_user" 2>&1; }

psql -V | sed 's/.*) \([0-9.]*\).*/! psql \1/'
echo "- pipeline: psql has \\startpipeline since version 18"

heading "connect: passwords in the clear and over tls"
attempt
PGPASSWORD=wrong attempt
attempt "user=nobody"
attempt "dbname=nowhere"
tls="sslmode=verify-full sslrootcert"
for more in "" channel_binding=require password=wrong; do attempt "$tls=$BEMI_ROOT_CERT $more"; done
attempt "$tls=$BEMI_WRONG_ROOT_CERT"

heading "types: values as variables"
script -At -v text="it's \\ é 🐘" -v bytes='\x00ff27' -v json='{"a": [1, null]}' <<'SQL'
\set list '{1,NULL,3}'
SELECT :'text', :'bytes'::bytea, :'json'::json, :'json'::jsonb, :'list'::int[], NULL::text;
SELECT int2 '-32768', int4 '2147483647', int8 '-9223372036854775808', float4 '1.5', float8 '-Infinity',
       numeric '-12345678901234567890.01234567890', bool 't';
SELECT date '2024-02-29', time '23:59:59.999999', timestamptz '2024-02-29 12:00+00', interval '-3 days 7 seconds',
       uuid '00000000-0000-0000-0000-000000000007';
SELECT 1 AS one, 'two' AS two, ARRAY[3.5] AS three \gdesc
\d todo
SQL

heading "prepared: one statement a thousand times"
script -At <<'SQL' | sort | uniq -c
PREPARE put (text) AS INSERT INTO todo (task) VALUES ($1) RETURNING length(task);
PREPARE read (text) AS SELECT 'read', length($1);
SELECT format('EXECUTE put(%L)', 'row ' || n), format('EXECUTE read(%L)', 'row ' || n) FROM generate_series(1, 1000) AS n \gexec
DEALLOCATE ALL;
EXECUTE put('gone');
SQL

heading "transaction: commits and savepoints"
script -a <<'SQL'
BEGIN;
INSERT INTO todo (task) VALUES ('kept');
SAVEPOINT one;
INSERT INTO todo (id) VALUES (1);
INSERT INTO todo (task) VALUES ('in a failed one');
ROLLBACK TO one;
INSERT INTO todo (task) VALUES ('kept, too');
COMMIT;
\set AUTOCOMMIT off
UPDATE todo SET task = 'undone';
ROLLBACK;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO todo (task) VALUES ('kept by a savepoint');
INSERT INTO todo (id) VALUES (1);
COMMIT;
INSERT INTO todo (task) VALUES ('undone') \; SELECT 1/0;
SELECT id, task FROM todo WHERE id < 6 OR task LIKE 'kept%' ORDER BY id;
SQL
psql -X -1 -v ON_ERROR_STOP=1 -c "INSERT INTO todo (task) VALUES ('one transaction')" -c "SELECT mistake" 2>&1

heading "copy: copies in and out"
seq 20001 25000 | sed 's/$/\ta task/' | psql -X -c '\copy todo (id, task) FROM STDIN' 2>&1
script <<'SQL'
COPY todo (id, task) FROM STDIN WITH (FORMAT csv);
30001,"one, two"
30002,"é"
\.
COPY todo (id, task) FROM STDIN;
30001	twice
\.
\copy (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT
SQL
psql -X -c 'COPY (SELECT id, task FROM todo WHERE id BETWEEN 20001 AND 25000 ORDER BY id) TO STDOUT' | cksum
psql -X -c "DELETE FROM todo WHERE id > 20000"

heading "notify: notifications and notices"
script <<'SQL'
LISTEN changed;
INSERT INTO todo (task) VALUES ('notifying') \; NOTIFY changed, 'payload';
DO $$ BEGIN RAISE NOTICE 'seen'; END $$;
SQL

heading "cancel: an interrupt"
# psql tells of its request when it can, which is before or after the error.
seen=$(mktemp)
psql -X -c "INSERT INTO todo (task) SELECT pg_sleep(60)::text" >"$seen" 2>&1 &
asleep="SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
until [ "$(psql -X -At -c "$asleep")" = 1 ]; do sleep 0.02; done
kill -INT $!
wait $!
grep -v "Cancel request sent" "$seen"
rm "$seen"
psql -X -c "INSERT INTO todo (task) VALUES ('after')" 2>&1

heading "errors: with all their fields"
script -v VERBOSITY=verbose <<'SQL'
INSERT INTO todo (id) VALUES (1);
INSERT INTO todo VALUES (9, 'é', mistake);
INSERT INTO todo VALUES (9, 'é', mistake) \gdesc
SELECT 1 \; UPDATE todo
  SET done = mistake;
UPDATE todo SET id = 1 / (id - id);
INSERT INTO nowhere VALUES (1);
\errverbose
SQL

heading "stream: a cursor behind the scenes"
psql -X -At -v FETCH_COUNT=5000 -c "SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n" | cksum
echo "SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n;" | psql -X -At -v FETCH_COUNT=5000 | cksum

heading "context: contexts of requests"
for who in 1 2 3; do
    script -v who="$who" -v context="{\"user_id\": $who}" <<'SQL'
INSERT INTO todo (task) VALUES ('of the session');
BEGIN;
SET LOCAL bemi.context = :'context';
INSERT INTO todo (task, who) VALUES ('local', :who);
COMMIT;
BEGIN;
SELECT set_config('bemi.context', :'context', true);
INSERT INTO todo (task, who) VALUES ('set_config', :who);
COMMIT;
SET bemi.context = :'context';
SHOW bemi.context;
INSERT INTO todo (task, who) VALUES ('set', :who);
RESET bemi.context;
INSERT INTO todo (task) VALUES ('reset');
SQL
    # psql replaces no variables in comments.
    psql -X -c "INSERT INTO todo (task, who) VALUES ('comment', $who) /*Bemi {\"user_id\": $who} Bemi*/"
done
