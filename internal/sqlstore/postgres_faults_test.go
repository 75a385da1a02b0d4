package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// counter sells one product over a server that something happens to.
type counter struct {
	*testing.T
	store  *sqlstore.Store
	ledger *ledger.Ledger
}

func openCounter(t *testing.T, url string) counter {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := counter{t, s, ledger.New(s, ledger.Options{})}
	t.Cleanup(func() {
		_ = c.ledger.Close(context.Background())
		_ = s.Close()
	})
	_, err = ledger.Submit(t.Context(), c.ledger, ledger.PutProduct{ID: "a", Title: is("T"), Price: is(money.Money{Amount: 1, Currency: "CNY"})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Submit(t.Context(), c.ledger, ledger.AdjustStock{ProductID: "a", Delta: 100}); err != nil {
		t.Fatal(err)
	}
	return c
}

func wishOf() ledger.Place {
	p := ledger.Place{UserID: "u", Lines: []ledger.PlaceLine{{ProductID: "a", Quantity: 1}}, Metadata: []byte(`{}`)}
	_, _ = rand.Read(p.Key[:])
	return p
}

func (c counter) place(p ledger.Place) (ledger.Placed, time.Duration, error) {
	began := time.Now()
	placed, err := ledger.Submit(context.Background(), c.ledger, p)
	return placed, time.Since(began), err
}

// comesBack waits until an order can be placed again, by the desk as it is.
func (c counter) comesBack() {
	c.Helper()
	for until := time.Now().Add(15 * time.Second); ; {
		_, _, err := c.place(wishOf())
		if err == nil {
			return
		}
		if !errors.Is(err, fault.ErrUnavailable) || time.Now().After(until) {
			c.Fatalf("the desk does not come back: %v", err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // between two looks at a condition
	}
}

func (c counter) held(want int64) {
	c.Helper()
	shelf, err := c.store.Shelf(context.Background(), "a")
	if err != nil || shelf.Stock.Held != want {
		c.Errorf("held are %+v, want %d: %v", shelf.Stock, want, err)
	}
	if report, err := c.store.Audit(context.Background(), sqlstore.AuditOptions{}); err != nil || !report.Clean {
		c.Errorf("audit: %v, %v", offenders(report), err)
	}
}

func through(t *testing.T, server *testenv.Server) (string, *testenv.Proxy) {
	t.Helper()
	proxy := testenv.NewProxy(t, server.Addr())
	return strings.Replace(server.URL(), server.Addr(), proxy.Addr(), 1), proxy
}

// A commit whose answer is lost, at once or by silence, is asked after by the batch's id: the order is there once, and its buyer is
// told so within the time it takes to notice.
func TestPostgreSQLCommitWhoseAnswerIsLostCountsOnce(t *testing.T) {
	t.Parallel()
	losesAnswers(t, testenv.StartPostgres(t, testenv.Options{}))
}

func losesAnswers(t *testing.T, server *testenv.Server) {
	t.Helper()
	url, proxy := through(t, server)
	c := openCounter(t, url)
	var held int64
	for name, lose := range map[string]func(func([]byte) bool) <-chan struct{}{
		"the answer is cut off": proxy.SwallowReply, "the question is cut off": proxy.CutRequest,
	} {
		lost := lose(testenv.Saying("COMMIT"))
		wish := wishOf()
		placed, took, err := c.place(wish)
		if err != nil || placed.Replayed || took > 2*time.Second {
			t.Fatalf("%s: %v after %v, replayed %v", name, err, took, placed.Replayed)
		}
		select {
		case <-lost:
		default:
			t.Fatalf("%s: nothing was lost", name)
		}
		if again, _, err := c.place(wish); err != nil || !again.Replayed || again.Number != placed.Number {
			t.Errorf("%s: asked again: %+v, %v", name, again, err)
		}
		held++
		c.held(held)
	}

	silent := proxy.BlackholeReply(testenv.Saying("COMMIT"))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-silent
		time.Sleep(2 * time.Second) //nolint:forbidigo // that is how long the network is silent
		proxy.Blackhole(false)
	}()
	wish := wishOf()
	placed, took, err := c.place(wish)
	<-ended
	if took > 5*time.Second {
		t.Errorf("silence at COMMIT was noticed after %v", took)
	}
	t.Logf("silence at COMMIT: %v after %v", err, took)
	c.comesBack()
	again, _, err2 := c.place(wish)
	if err2 != nil || !again.Replayed || err == nil && again.Number != placed.Number {
		t.Errorf("asked again: %+v, %v", again, err2)
	}
	c.held(held + 2)
}

// Silence anywhere else ends, too: the desk says 503 and is back once the way is free, with connections of its own.
func TestPostgreSQLThatIsSilentIsNoticedInFiveSeconds(t *testing.T) {
	t.Parallel()
	fallsSilent(t, testenv.StartPostgres(t, testenv.Options{}))
}

func fallsSilent(t *testing.T, server *testenv.Server) {
	t.Helper()
	url, proxy := through(t, server)
	c := openCounter(t, url)
	proxy.Blackhole(true)
	_, took, err := c.place(wishOf())
	if !errors.Is(err, fault.ErrUnavailable) || took > 5*time.Second {
		t.Errorf("a batch: %v after %v", err, took)
	}
	began := time.Now()
	if _, err := c.store.Shelf(t.Context(), "a"); !errors.Is(err, fault.ErrUnavailable) || time.Since(began) > 5*time.Second {
		t.Errorf("a look: %v after %v", err, time.Since(began))
	}
	proxy.Blackhole(false)
	c.comesBack()
	c.held(1)
}

func TestPostgreSQLThatWasKilledIsUsedAgainWithoutARestart(t *testing.T) {
	t.Parallel()
	isKilled(t, testenv.StartPostgres(t, testenv.Options{}))
}

func isKilled(t *testing.T, server *testenv.Server) {
	t.Helper()
	c := openCounter(t, server.URL())
	for range 2 {
		server.Kill()
		if _, took, err := c.place(wishOf()); !errors.Is(err, fault.ErrUnavailable) || took > time.Second {
			t.Errorf("while it is away: %v after %v", err, took)
		}
		server.Start()
		began := time.Now()
		c.comesBack()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it answered, and the desk was back after %v", took)
		}
	}
	c.held(2)
}

// A primary that only reads is unavailable for whoever writes, at once and with one try; looks go on.
func TestPostgreSQLThatOnlyReadsIsUnavailableForAWhile(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t, testenv.Options{})
	c := openCounter(t, server.URL())
	admin, err := sql.Open("pgx", server.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close() //nolint:errcheck // a test
	set := func(value string) {
		t.Helper()
		for _, s := range []string{`ALTER SYSTEM SET default_transaction_read_only = ` + value, `SELECT pg_reload_conf()`} {
			if _, err := admin.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("on")
	for until := time.Now().Add(5 * time.Second); ; { // the server's processes hear of it one by one
		_, took, err := c.place(wishOf())
		if errors.Is(err, fault.ErrUnavailable) && strings.Contains(err.Error(), "25006") {
			if took > 200*time.Millisecond {
				t.Errorf("it took %v to say so", took)
			}
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := c.store.Shelf(t.Context(), "a"); err != nil {
		t.Errorf("a look: %v", err)
	}
	if _, err := admin.ExecContext(t.Context(), `SET default_transaction_read_only = off`); err != nil {
		t.Fatal(err)
	}
	set("off")
	c.comesBack()
}

// Whoever stands still inside his transaction loses it, and the others wait no longer than three seconds. Awake again, he learns
// that he did not commit.
func TestPostgreSQLTransactionThatStandsStillHoldsNobodyForLong(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t)
	c, paused := openCounter(t, url), open(t, url)
	tx, err := paused.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := tx.Claim(t.Context(), ledger.BatchID{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Load(t.Context(), &ledger.Want{Products: []product.ID{"a"}}); err != nil {
		t.Fatal(err)
	}
	_, took, err := c.place(wishOf())
	if err != nil || took > 3*time.Second || took < 500*time.Millisecond {
		t.Errorf("the others: %v after %v", err, took)
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("he has committed")
	}
	again, err := paused.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Rollback()
	if err := again.Claim(t.Context(), ledger.BatchID{1}); err != nil {
		t.Errorf("his batch: %v", err)
	}
}

func open(t *testing.T, url string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestPostgreSQLWithWeakSettingsIsRefused(t *testing.T) {
	t.Parallel()
	weak := testenv.StartPostgres(t, testenv.Options{Settings: map[string]string{"fsync": "off", "full_page_writes": "off"}})
	_, err := sqlstore.Open(t.Context(), weak.URL(), sqlstore.Options{})
	for _, name := range []string{"fsync is off", "full_page_writes is off"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to name that %s", err, name)
		}
	}
	s, err := sqlstore.Open(t.Context(), weak.URL(), sqlstore.Options{Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if len(s.Weaknesses()) != 2 {
		t.Errorf("told are %q", s.Weaknesses())
	}
	url := testenv.PostgresURL(t)
	if _, err := sqlstore.Open(t.Context(), url+"&synchronous_commit=off", sqlstore.Options{}); err == nil ||
		!strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("got %v, want it to name synchronous_commit", err)
	}
	if s := open(t, url); len(s.Weaknesses()) != 0 {
		t.Errorf("a durable server has %q", s.Weaknesses())
	}
}

func TestPasswordsAreInNoErrorOfOpening(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://desk:canary@127.0.0.1:1/holdfast?connect_timeout=1",
		"postgres://desk:canary@127.0.0.1:1/holdfast?sslpassword=canary&connect_timeout=1",
		"postgres://desk:canary@127.0.0.1:1/holdfast?sslmode=nonsense",
		"postgres://desk:can%zzary@127.0.0.1:1/canary", "postgres://desk:canary@:x:/canary", "oracle://desk:canary@db/x",
	} {
		_, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
		if err == nil {
			t.Fatalf("%s was opened", url)
		}
		if strings.Contains(strings.ReplaceAll(err.Error(), "/canary", ""), "canary") || strings.Contains(err.Error(), "can%zzary") {
			t.Errorf("%v", err)
		}
	}
}

// Several processes start at once over an empty database: one migrates, the others find it done. A binary that is older than the
// schema goes on.
func TestPostgreSQLIsMigratedByOneOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t)
	const processes = 4
	took := make(chan int, processes)
	for range processes {
		s := open(t, url)
		go func() {
			n, err := s.Migrate(context.Background())
			if err != nil {
				t.Error(err)
			}
			took <- n
		}()
	}
	steps := 0
	for range processes {
		steps += <-took
	}
	if want := sqlstore.StepsOf(t, "postgres"); steps != want {
		t.Errorf("%d steps were taken, want each of %d once", steps, want)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`); err != nil {
		t.Fatal(err)
	}
	if n, err := open(t, url).Migrate(t.Context()); err != nil || n != 0 {
		t.Errorf("an older binary: %d steps, %v", n, err)
	}
}
