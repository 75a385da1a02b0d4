package testenv_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

type engine struct {
	name  string
	start func(testing.TB, testenv.Options) *testenv.Server
	fresh func(testing.TB) string
}

// engines are the two that hold databases.
var engines = []engine{
	{"PostgreSQL", testenv.StartPostgres, testenv.PostgresURL},
	{"MariaDB", testenv.StartMariaDB, testenv.MariaDBURL},
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			one, other := open(t, e.fresh(t)), open(t, e.fresh(t))
			execute(t, one, "CREATE TABLE orders (id INT PRIMARY KEY)")
			execute(t, other, "CREATE TABLE orders (id INT PRIMARY KEY)")
			execute(t, one, "INSERT INTO orders VALUES (1)")
			if got := count(t, other, "SELECT COUNT(*) FROM orders"); got != 0 {
				t.Errorf("rows in the other database: got %d, want 0", got)
			}
		})
	}
}

func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // its server may be gone
	return db
}

// driver gives the driver's name and the address in its own form.
func driver(address string) (name, source string) {
	rest, ok := strings.CutPrefix(address, "mysql://")
	if !ok {
		return "pgx", address
	}
	account, place, _ := strings.Cut(rest, "@")
	host, database, _ := strings.Cut(place, "/")
	return "mysql", account + "@tcp(" + host + ")/" + database
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
