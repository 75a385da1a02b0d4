package testenv_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// engines are the two that hold databases.
var engines = []struct {
	name  string
	start func(testing.TB, testenv.Options) *testenv.Server
	fresh func(testing.TB) string
}{
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

// open opens a database as its URL says.
func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	driver, source := "pgx", address
	if rest, ok := strings.CutPrefix(address, "mysql://"); ok {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		_, path, _ := strings.Cut(rest, "/")
		driver, source = "mysql", u.User.String()+"@tcp("+u.Host+")/"+path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
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
