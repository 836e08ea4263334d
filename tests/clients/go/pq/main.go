// lib/pq behind database/sql: statements described before they are bound, or sent at once, COPY through a statement, listeners.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"bemi/clients/transcript"
	"github.com/lib/pq"
)

func main() {
	lacks := [][2]string{{"pipeline", "it waits for each answer"}}
	transcript.Main("lib/pq", "github.com/lib/pq", lacks, []transcript.Scenario{
		{Name: "connect: with a password, and over TLS", Run: connections},
		{Name: "types: parameters there and back", Run: types},
		{Name: "prepared: an INSERT and a SELECT, again and again", Run: with(reuses)},
		{Name: "transaction: committed, rolled back, and back to a savepoint", Run: with(transactions)},
		{Name: "copy: in", Run: with(copies)},
		{Name: "notify: notifications and notices", Run: notifications},
		{Name: "cancel: a sleeping SELECT, and a write", Run: with(cancelling)},
		{Name: "errors: of both protocols", Run: with(refusals)},
		{Name: "stream: many rows, and a cursor", Run: with(streams)},
		{Name: "context: of requests", Run: with(contexts)},
	})
}

func connections() {
	for _, settings := range []string{"", "password=wrong", "dbname=nowhere", overTLS("localhost", "BEMI_ROOT_CERT"),
		overTLS("127.0.0.1", "BEMI_ROOT_CERT"), overTLS("localhost", "BEMI_WRONG_ROOT_CERT"),
		overTLS("localhost", "BEMI_ROOT_CERT") + " password=wrong"} {
		db := open(settings)
		err := db.Ping()
		noteError(err)
		if err == nil {
			note(rows(db.Query("SELECT session_user::text")))
		}
		must(db.Close())
	}
}

func types() {
	one, minus := int64(1), int64(-3)
	values := transcript.Values(pq.Array([]*int64{&one, nil, &minus}), pq.Array([]sql.NullString{
		{String: `a,"b"`, Valid: true}, {}, {Valid: true}, {String: "é", Valid: true},
	}))
	db := open("")
	_, err := db.Exec(transcript.Kinds)
	must(err)
	must(db.Close())
	id := 0
	with(func(db *sql.DB) {
		id++
		note(rows(db.Query(transcript.PutKinds, append([]any{id}, values...)...)))
		note(rows(db.Query(transcript.PutKinds, append([]any{id + 10}, make([]any, len(values))...)...)))
		note(rows(db.Query("UPDATE kinds SET t = repeat($1, 200000) WHERE id = $2 RETURNING length(t)", "long ", id)))
		var texts []sql.NullString
		must(db.QueryRow("SELECT texts FROM kinds WHERE id = $1", id).Scan(pq.Array(&texts)))
		note(texts)
	})()
}

func reuses(db *sql.DB) {
	put, err := db.Prepare("INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id")
	must(err)
	get, err := db.Prepare("SELECT task FROM todo WHERE id = $1")
	must(err)
	sum := 0
	for number := range transcript.Reuses {
		var id int
		var task string
		must(put.QueryRow(fmt.Sprint("p", number), number%2 == 0).Scan(&id))
		must(get.QueryRow(id).Scan(&task))
		if task == fmt.Sprint("p", number) {
			sum += id
		}
	}
	note(sum)
	note(rows(db.Query("SELECT name, statement FROM pg_prepared_statements ORDER BY name")))
	note(affected(put.Exec("after the list", true)))
	must(put.Close())
	note(rows(db.Query("SELECT name FROM pg_prepared_statements WHERE name <> $1", "")))
	must(get.Close())
	note(affected(db.Exec("DELETE FROM todo WHERE id > $1", 5)))
}

func transactions(db *sql.DB) {
	noteError(inTransaction(db, nil, func(tx *sql.Tx) error {
		note(affected(tx.Exec("INSERT INTO todo (task) VALUES ($1)", "kept")))
		note(affected(tx.Exec("SAVEPOINT one")))
		_, err := tx.Exec("INSERT INTO todo (id) VALUES ($1)", 1)
		noteError(err)
		_, err = tx.Exec("INSERT INTO todo (task) VALUES ($1)", "in a failed one")
		noteError(err)
		note(affected(tx.Exec("ROLLBACK TO SAVEPOINT one")))
		_, err = tx.Exec("INSERT INTO todo (task) VALUES ($1)", "kept, too")
		return err
	}))
	noteError(inTransaction(db, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelSerializable}, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE todo SET done = $1", true)
		return err
	}))
	noteError(inTransaction(db, nil, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE todo SET task = $1", "undone")
		must(err)
		return fmt.Errorf("given up")
	}))
	noteError(inTransaction(db, nil, func(tx *sql.Tx) error {
		_, err := tx.Exec("SELECT 1/0")
		noteError(err)
		return nil
	}))
	note(rows(db.Query("SELECT count(*), count(*) FILTER (WHERE task = $1) FROM todo", "undone")))
}

func copies(db *sql.DB) {
	into := func(from, to int) error {
		return inTransaction(db, nil, func(tx *sql.Tx) error {
			copying, err := tx.Prepare("COPY todo (id, task) FROM STDIN")
			must(err)
			for id := from; id < to; id++ {
				if _, err := copying.Exec(id, fmt.Sprint("copied\t\\ é ", id)); err != nil {
					return err
				}
			}
			if _, err := copying.Exec(); err != nil {
				return err
			}
			return copying.Close()
		})
	}
	noteError(into(50000, 53000))
	noteError(into(0, 10))
	note(rows(db.Query("SELECT count(*), min(task), max(task) FROM todo WHERE id >= $1", 50000)))
	_, err := db.Exec("COPY todo TO STDOUT")
	noteError(err)
	note(affected(db.Exec("DELETE FROM todo WHERE id >= $1", 50000)))
}

func notifications() {
	connector, err := pq.NewConnectorConfig(configure(""))
	must(err)
	notices := []string{}
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(notice *pq.Error) {
		notices = append(notices, fmt.Sprint(notice.Severity, " ", notice.Message))
	}))
	listener := pq.NewListener("", time.Second, time.Second, nil)
	must(listener.Listen("changed"))
	_, err = db.Exec("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'")
	must(err)
	heard := <-listener.Notify
	note(heard.Channel, heard.Extra)
	must(listener.Close())
	_, err = db.Exec("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
	must(err)
	note(notices)
	must(db.Close())
}

func cancelling(db *sql.DB) {
	for _, text := range []string{"SELECT pg_sleep($1)", "INSERT INTO todo (task) SELECT pg_sleep($1)::text"} {
		short, cancel := context.WithCancel(context.Background())
		go func() {
			other := open("")
			for found := 0; found == 0; {
				asleep, err := rows(other.Query(transcript.Asleep))
				must(err)
				found = len(asleep)
			}
			must(other.Close())
			cancel()
		}()
		_, err := db.ExecContext(short, text, 60)
		noteError(err)
	}
	note(affected(db.Exec("INSERT INTO todo (task) VALUES ($1)", "after")))
}

func refusals(db *sql.DB) {
	note(rows(db.Query("INSERT INTO todo (task) VALUES ('é €') RETURNING task")))
	note(affected(db.Exec("INSERT INTO todo (task) VALUES ('a'); DELETE FROM todo WHERE task = 'a'")))
	for _, query := range []struct {
		text       string
		parameters []any
	}{
		{"INSERT INTO todo (id) VALUES (1)", nil},
		{"INSERT INTO todo (id) VALUES ($1)", []any{1}},
		{"INSERT INTO todo VALUES (9, mistake)", nil},
		{"INSERT INTO todo VALUES ($1, mistake)", []any{9}},
		{"/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake", nil},
		{"INSERT INTO todo (id) VALUES ($1)", []any{"no number"}},
		{"UPDATE nowhere SET done = $1", []any{true}},
		{"INSERT INTO todo (task) VALES ($1)", []any{"x"}},
		{"DO $$ BEGIN RAISE EXCEPTION 'mine' USING DETAIL = 'a detail', HINT = 'a hint', ERRCODE = 'ZZ999'; END $$", nil},
	} {
		_, err := db.Exec(query.text, query.parameters...)
		noteError(err)
	}
	note(rows(db.Query("SELECT id, task, done FROM todo WHERE id <> $1 ORDER BY id LIMIT 7", 4)))
}

func streams(db *sql.DB) {
	read := func(result *sql.Rows, err error, sum *transcript.Checksum) {
		must(err)
		for result.Next() {
			var number int64
			var digest string
			must(result.Scan(&number, &digest))
			sum.Add(number, digest)
		}
		must(result.Err())
	}
	var whole, fetched transcript.Checksum
	result, err := db.Query(transcript.Streamed)
	read(result, err, &whole)
	must(inTransaction(db, nil, func(tx *sql.Tx) error {
		_, err := tx.Exec("DECLARE many CURSOR FOR " + transcript.Streamed)
		must(err)
		for before := int64(-1); before < fetched.Rows; {
			before = fetched.Rows
			result, err := tx.Query("FETCH 1000 FROM many")
			read(result, err, &fetched)
		}
		return nil
	}))
	note(whole, fetched)
}

func contexts(db *sql.DB) {
	insert, err := db.Prepare("INSERT INTO todo (task, who) VALUES ($1, $2)")
	must(err)
	for who := 1; who <= 4; who++ {
		value := fmt.Sprintf(`{"user_id":%d,"name":"Zoë"}`, who)
		must(inTransaction(db, nil, func(tx *sql.Tx) error {
			note(rows(tx.Query("SELECT set_config('bemi.context', $1, true)", value)))
			note(affected(tx.Stmt(insert).Exec("local", who)))
			_, err := tx.Exec("UPDATE todo SET who = $1 WHERE id = 1", who)
			return err
		}))
		must(inTransaction(db, nil, func(tx *sql.Tx) error {
			_, err := tx.Exec(fmt.Sprintf(`SET LOCAL bemi.context = '{"user_id": %d}'`, who+10))
			must(err)
			_, err = tx.Stmt(insert).Exec("SET LOCAL", who+10)
			return err
		}))
		note(affected(db.Exec("UPDATE todo SET who = NULL WHERE id = $1", 1)))
		note(affected(db.Exec(fmt.Sprintf(`/*Bemi {"user_id": %d} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)`, who), "comment", who)))
		note(affected(db.Exec(fmt.Sprintf(`SET bemi.context = '{"user_id": %d}'; UPDATE todo SET who = %d WHERE id = 2`, who, who))))
		note(affected(insert.Exec("session", who)))
		note(affected(db.Exec("RESET bemi.context")))
		note(affected(db.Exec("UPDATE todo SET who = NULL WHERE id = 2")))
	}
	must(insert.Close())
}
