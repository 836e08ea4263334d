// A to-do list with net/http and pgx. Every row change carries who asked for it, and by which request.
//
//	DATABASE_URL=postgresql://... go run .
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// requestContext is what row changes will say of the request that made them.
type requestContext struct {
	UserID   *int   `json:"user_id,omitempty"`
	Endpoint string `json:"endpoint"`
	Method   string `json:"method"`
}

type key struct{}

// setContext runs each time the pool hands a connection out, with the context.Context of the query or transaction that asked
// for it. The setting belongs to the session and outlives the request, so that it has to be written every time: also where
// there is no request, or a job in the background would be blamed on the last visitor. It is written outside of any
// transaction: what a transaction sets is undone by its ROLLBACK, and the visitor before would be back.
func setContext(ctx context.Context, conn *pgx.Conn) (bool, error) {
	value := []byte("{}")
	if request, ok := ctx.Value(key{}).(requestContext); ok {
		var err error
		if value, err = json.Marshal(request); err != nil {
			return true, err
		}
	}
	_, err := conn.Exec(ctx, "SELECT set_config('bemi.context', $1, false)", string(value))
	return err == nil, err
}

// withContext puts what is known of a request into its context.Context.
func withContext(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		about := requestContext{UserID: user(r), Endpoint: r.URL.Path, Method: r.Method}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, about)))
	})
}

// user stands for your authentication.
func user(r *http.Request) *int {
	if id, err := strconv.Atoi(r.Header.Get("X-User-Id")); err == nil {
		return &id
	}
	return nil
}

// From here on nothing knows of contexts, but that queries take r.Context(), as they should anyway.

type todo struct {
	ID     int    `json:"id"`
	Task   string `json:"task"`
	Done   bool   `json:"done"`
	Author *int   `json:"author"`
}

type server struct{ pool *pgxpool.Pool }

const insert = "INSERT INTO todo (task, author) VALUES ($1, $2) RETURNING id, task, done, author"

func (s server) create(w http.ResponseWriter, r *http.Request) {
	var body struct{ Task string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rows, _ := s.pool.Query(r.Context(), insert, body.Task, user(r))
	created, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[todo])
	answer(w, http.StatusCreated, created, err)
}

// importAll creates all of them, or none.
func (s server) importAll(w http.ResponseWriter, r *http.Request) {
	var body struct{ Tasks []string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	created := []todo{}
	err := pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		for _, task := range body.Tasks {
			rows, _ := tx.Query(r.Context(), insert, task, user(r))
			one, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[todo])
			if err != nil {
				return err
			}
			created = append(created, one)
		}
		return nil
	})
	answer(w, http.StatusCreated, created, err)
}

func (s server) update(w http.ResponseWriter, r *http.Request) {
	var body struct{ Done bool }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rows, _ := s.pool.Query(r.Context(),
		"UPDATE todo SET done = $1 WHERE id = $2 RETURNING id, task, done, author", body.Done, r.PathValue("id"))
	updated, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[todo])
	answer(w, http.StatusOK, updated, err)
}

func (s server) remove(w http.ResponseWriter, r *http.Request) {
	rows, _ := s.pool.Query(r.Context(),
		"DELETE FROM todo WHERE id = $1 RETURNING id, task, done, author", r.PathValue("id"))
	removed, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[todo])
	answer(w, http.StatusOK, removed, err)
}

func answer(w http.ResponseWriter, status int, body any, err error) {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		http.Error(w, "no such todo", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.PrepareConn = setContext
	if size, err := strconv.Atoi(os.Getenv("POOL_SIZE")); err == nil {
		config.MaxConns = int32(size)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}

	s := server{pool}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /todos", s.create)
	mux.HandleFunc("POST /todos/import", s.importAll)
	mux.HandleFunc("PATCH /todos/{id}", s.update)
	mux.HandleFunc("DELETE /todos/{id}", s.remove)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "3000"), withContext(mux)))
}
