package testenv_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// through puts a proxy in front of an engine: far is the database through it, near the same past it. There is one table, without an
// order.
func through(t *testing.T, e engine) (p *testenv.Proxy, far, near *sql.DB) {
	t.Helper()
	address := e.fresh(t)
	near = open(t, address)
	execute(t, near, "CREATE TABLE orders (id INT PRIMARY KEY)")
	_, place, _ := strings.Cut(address, "@")
	host, _, _ := strings.Cut(place, "/")
	p = testenv.NewProxy(t, host)
	return p, open(t, strings.Replace(address, host, p.Addr(), 1)), near
}

func TestCutConnectionsAreResetAndNewOnesWork(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, _ := through(t, e)
			conn := connect(t, far)
			p.Cut()
			if err := place(t, conn, 1); err == nil {
				t.Error("a connection that was cut still works")
			}
			if err := place(t, connect(t, far), 2); err != nil {
				t.Errorf("a new connection: %v", err)
			}
		})
	}
}

func TestDelayedAnswersComeLate(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, _ := through(t, e)
			const delay = 40 * time.Millisecond
			conn := connect(t, far)
			p.Delay(delay)
			began := time.Now()
			if err := place(t, conn, 1); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 2*delay {
				t.Errorf("an answer took %v, want %v there and %v back", took, delay, delay)
			}
		})
	}
}

func TestRefusedConnectionsAreNewOnesOnly(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, _ := through(t, e)
			conn := connect(t, far)
			p.Refuse(true)
			if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a new connection: got %v, want it refused", err)
			}
			if err := place(t, conn, 1); err != nil {
				t.Errorf("the old connection: %v", err)
			}
			p.Refuse(false)
			if err := place(t, connect(t, far), 2); err != nil {
				t.Errorf("a new connection: %v", err)
			}
		})
	}
}

func TestABlackHoleHoldsEverythingUntilItEnds(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			conn := connect(t, far)
			p.Blackhole(true)
			outcome := make(chan error, 2)
			go func() { outcome <- place(t, conn, 1) }()
			go func() { outcome <- far.PingContext(t.Context()) }() // the kernel lets a new connection in, and nobody answers it
			select {
			case err := <-outcome:
				t.Errorf("something came through the black hole (%v)", err)
			case <-time.After(200 * time.Millisecond):
			}
			if got := orders(t, near); got != 0 {
				t.Errorf("orders that came through: got %d, want 0", got)
			}
			p.Blackhole(false)
			for range 2 {
				if err := within(t, outcome); err != nil {
					t.Errorf("after the black hole: %v", err)
				}
			}
			if got := orders(t, near); got != 1 {
				t.Errorf("orders after the black hole: got %d, want 1", got)
			}
		})
	}
}

func TestACommitCutOffIsNotExecuted(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			tx := begin(t, far)
			cut := p.CutRequest(testenv.Saying("commit"))
			if err := tx.Commit(); err == nil {
				t.Error("commit: got no error, want the connection lost")
			}
			within(t, cut)
			if got := orders(t, near); got != 0 {
				t.Errorf("orders: got %d, want 0", got)
			}
		})
	}
}

func TestACommitWhoseReplyIsSwallowedIsExecutedOnce(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			tx := begin(t, far)
			swallowed := p.SwallowReply(testenv.Saying("COMMIT"))
			if err := tx.Commit(); err == nil {
				t.Error("commit: got no error, want the connection lost")
			}
			within(t, swallowed)
			if got := orders(t, near); got != 1 {
				t.Errorf("orders: got %d, want 1", got)
			}
			if err := place(t, connect(t, far), 2); err != nil {
				t.Errorf("the next connection: %v", err)
			}
		})
	}
}

func TestACommitInABlackHoleIsExecutedWhenItEnds(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			tx := begin(t, far)
			begun := p.BlackholeRequest(testenv.Saying("commit"))
			outcome := make(chan error, 1)
			go func() { outcome <- tx.Commit() }()
			within(t, begun)
			if got := orders(t, near); got != 0 {
				t.Errorf("orders before the black hole ends: got %d, want 0", got)
			}
			p.Blackhole(false)
			if err := within(t, outcome); err != nil {
				t.Errorf("commit: %v", err)
			}
			if got := orders(t, near); got != 1 {
				t.Errorf("orders: got %d, want 1", got)
			}
		})
	}
}

func TestACommitWhoseReplyIsInABlackHoleIsExecuted(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			tx := begin(t, far)
			begun := p.BlackholeReply(testenv.Saying("commit"))
			outcome := make(chan error, 1)
			go func() { outcome <- tx.Commit() }()
			within(t, begun)
			if got := orders(t, near); got != 1 {
				t.Errorf("orders: got %d, want 1", got)
			}
			select {
			case err := <-outcome:
				t.Errorf("the answer came through the black hole: %v", err)
			default:
			}
			p.Blackhole(false)
			if err := within(t, outcome); err != nil {
				t.Errorf("commit: %v", err)
			}
		})
	}
}

// A client that has given up a request does not keep it from being executed when the network is back.
func TestAGivenUpRequestArrivesAfterTheBlackHole(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, far, near := through(t, e)
			conn := connect(t, far)
			begun := p.BlackholeRequest(testenv.Saying("insert"))
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			outcome := make(chan error, 1)
			go func() {
				_, err := conn.ExecContext(ctx, "INSERT INTO orders VALUES (1)")
				outcome <- err
			}()
			within(t, begun)
			p.Refuse(true) // a driver asks on another connection for it to be cancelled, and might be heard first
			giveUp()
			if err := within(t, outcome); err == nil {
				t.Fatal("an insert came through the black hole")
			}
			p.Blackhole(false)
			testenv.Until(t, patience, "the insert to arrive", func() bool { return orders(t, near) == 1 })
		})
	}
}

func TestACutIsAReset(t *testing.T) {
	p := testenv.NewProxy(t, echo(t))
	conn := dial(t, p)
	said := []byte("hello")
	if _, err := conn.Write(said); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, said); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if _, err := conn.Read(said); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading from a cut connection: got %v, want a reset", err)
	}
}

func TestLongAnswersComeWhole(t *testing.T) {
	p := testenv.NewProxy(t, echo(t))
	p.Delay(time.Millisecond)
	conn := dial(t, p)
	const size = 8 << 20
	go func() {
		_, _ = conn.Write(make([]byte, size)) // who reads counts
		_ = conn.CloseWrite()                 // the same
	}()
	got, err := io.Copy(io.Discard, conn)
	if err != nil || got != size {
		t.Errorf("bytes that came back: got %d, %v, want %d", got, err, size)
	}
}

// echo is the address of a server that says what it is told, to one client.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn) // the client sees what is missing
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func dial(t *testing.T, p *testenv.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn) //nolint:errcheck // TCP was asked for
}

// connect makes a new connection.
func connect(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	db.SetMaxIdleConns(0)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be cut
	return conn
}

// begin begins a transaction that places an order.
func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO orders VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	return tx
}

func place(t *testing.T, conn *sql.Conn, id int) error {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), "INSERT INTO orders VALUES ("+strconv.Itoa(id)+")") //nolint:gosec // a number
	return err
}

func orders(t *testing.T, db *sql.DB) int {
	t.Helper()
	return count(t, db, "SELECT COUNT(*) FROM orders")
}
