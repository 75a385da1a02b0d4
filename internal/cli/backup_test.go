package cli

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// files are the names in a folder.
func files(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// While orders are placed as fast as they can be, a copy is made: it holds every order that was acknowledged before it began,
// and everything in it adds up.
func TestABackupUnderLoadIsWholeAndClean(t *testing.T) {
	s := newShell(t)
	desk := s.serve(t, "--demo")
	s.must(t, "product", "put", "sku-many", "--title", "Many", "--price", "100", "--currency", "CNY")
	s.must(t, "stock", "adjust", "sku-many", "--add", "1000000")
	c, err := client.New(desk.url, strings.ReplaceAll(adminKey, " ", "_"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	var buyers sync.WaitGroup
	defer buyers.Wait()
	defer stop()
	var acknowledged atomic.Int64
	for i := range 4 {
		buyers.Go(func() {
			for ctx.Err() == nil {
				o, err := c.PlaceOrder(ctx, "", api.PlaceOrder{UserID: "u-" + strconv.Itoa(i), Lines: []api.PlaceLine{{ProductID: "sku-many", Quantity: 1}}})
				if err == nil {
					acknowledged.Add(1)
					_, _ = c.CancelOrder(ctx, o.OrderNo, "")
				}
			}
		})
	}
	testenv.Until(t, patience, "orders are acknowledged", func() bool { return acknowledged.Load() > 50 })
	folder := t.TempDir()
	for _, name := range []string{"one.db", "two.db"} {
		before := acknowledged.Load()
		copied := filepath.Join(folder, name)
		if said := s.must(t, "backup", copied); !strings.HasPrefix(said, copied+" holds the record, ") {
			t.Errorf("got %q", said)
		}
		if got := ordersIn(t, copied); got < before {
			t.Errorf("%s: %d orders, want the %d that were acknowledged before", name, got, before)
		}
		if said := s.must(t, "audit", "--database-url", "sqlite:"+copied); strings.Contains(said, "wrong") {
			t.Errorf("%s does not add up: %s", name, said)
		}
		if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want it readable by its owner only", name, info.Mode(), err)
		}
		testenv.Until(t, patience, "orders are acknowledged", func() bool { return acknowledged.Load() > before })
	}
	stop()
	buyers.Wait()

	restored := newShell(t)
	restored.environ = []string{"HOLDFAST_DATABASE_URL=sqlite:" + filepath.Join(folder, "two.db")}
	restored.serve(t)
	wantText(t, "the copy, served", restored.must(t, "product", "get", "sku-ticket"), "Concert ticket")
}

func ordersIn(t *testing.T, file string) (n int64) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing was written
	if err := db.QueryRow(`SELECT COUNT(*) FROM orders`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABackupTakesNobodysPlaceAndLeavesNothingUnfinished(t *testing.T) {
	s := newShell(t)
	s.serve(t, "--demo").stop()
	folder := t.TempDir()
	taken := filepath.Join(folder, "taken.db")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := s.run(t, "backup", taken)
	wantExit(t, "a name that is taken", code, exitFailed, stderr, "there is something already")
	if text, err := os.ReadFile(taken); err != nil || string(text) != "precious" {
		t.Errorf("what was there: got %q, %v", text, err)
	}
	code, _, stderr = s.run(t, "backup", filepath.Join(folder, "nowhere", "x.db"))
	wantExit(t, "no folder", code, exitFailed, stderr, "does not exist")
	code, _, stderr = s.run(t, "backup", filepath.Join(folder, "x.db"), "--database-url", "sqlite:"+filepath.Join(folder, "missing.db"))
	wantExit(t, "no record", code, exitFailed, stderr, "no such file")

	p, _, _ := s.program("backup", filepath.Join(folder, "stopped.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := p.Run(ctx); code == exitOK {
		t.Error("a backup that was stopped: exit 0")
	}
	if got := files(t, folder); got != "taken.db" {
		t.Errorf("left behind: %s", got)
	}
	made := made[struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
	}](t, s.must(t, "backup", filepath.Join(folder, "x.db"), "-o", "json"))
	if info, err := os.Stat(made.File); err != nil || info.Size() != made.Bytes || made.Bytes == 0 {
		t.Errorf("got %+v, %v", made, err)
	}
	if got := files(t, folder); got != "taken.db x.db" {
		t.Errorf("left behind: %s", got)
	}
}
