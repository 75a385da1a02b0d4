package bench

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	rowLockBodyMax     = 64 << 10
	rowLockBusyTimeout = 10 * time.Second
	rowLockShards      = 8
)

// The statements of one order, in the order they run.
const (
	sqlKeyLookup = `SELECT o.data FROM idempotency_keys k JOIN outbox o
	    ON o.subject_kind = 'order' AND o.subject = CAST(k.order_no AS TEXT) AND o.sequence = 1 WHERE k.key = ?`
	sqlHold = `UPDATE stock SET held = held + ?2, version = version + 1
	    WHERE product_id = ?1 AND available >= ?2 RETURNING version`
	sqlAddOrder = `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by,
	    close_reason, paid_late, reminded, version, events, metadata) VALUES (?, ?, 'pending', ?, ?, ?, ?, '', 0, 0, 1, 1, ?)`
	sqlAddLine       = `INSERT INTO order_lines (order_no, line, product_id, title, quantity, unit_price) VALUES (?, ?, ?, ?, ?, ?)`
	sqlAddTransition = `INSERT INTO order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)
	    VALUES (?, 1, '', 'pending', '', 1, ?)`
	sqlAddEntry = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
	    VALUES (?1, ?2, 'held', -?3, ?3, 0, ?4, ?5)`
	sqlAddEvent = `INSERT INTO outbox (subject_kind, subject, sequence, type, at, data)
	    VALUES ('order', ?, 1, 'order.placed', ?, ?)`
	sqlAddWaiting = `INSERT INTO outbox_waiting (shard, event_id) VALUES (?, last_insert_rowid())`
	sqlAddKey     = `INSERT INTO idempotency_keys (key, fingerprint, order_no) VALUES (?, ?, ?)`
)

// ServeRowLock serves the rival until ctx ends: what a shop writes for itself with net/http, encoding/json and database/sql,
// one transaction an order, the stock row guarded and locked by its UPDATE. It writes the same rows as Holdfast, to a new
// SQLite file with the same durability. It is favoured: it knows its products by heart, asks nobody for a key, tells no
// stock.changed, and numbers orders from memory. It prints where it listens to out.
func ServeRowLock(ctx context.Context, addr, path string, pool int, out io.Writer) error {
	rival, err := openRowLock(ctx, path, pool)
	if err != nil {
		return err
	}
	return errors.Join(serveRival(ctx, addr, out, rival.routes()), rival.db.Close())
}

type rowLock struct {
	db       *sql.DB
	number   atomic.Int64
	mu       sync.RWMutex
	products map[string]rowLockProduct

	keyLookup, hold, addOrder, addLine, addTransition, addEntry, addEvent, addWaiting, addKey *sql.Stmt
}

type rowLockProduct struct {
	title     string
	price     moneyShape
	payWindow time.Duration
}

func openRowLock(ctx context.Context, path string, pool int) (*rowLock, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("busy_timeout(%d)", rowLockBusyTimeout.Milliseconds()),
		"cache_size(-32768)", "wal_autocheckpoint(4000)", // Holdfast's own
	}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(pool)
	db.SetMaxIdleConns(pool)
	rival := &rowLock{db: db, products: make(map[string]rowLockProduct)}
	today, _ := strconv.ParseInt(time.Now().UTC().Format("20060102"), 10, 64)
	rival.number.Store(today * 10_000_000)
	if err := rival.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return rival, nil
}

func (s *rowLock) prepare(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, rowLockTables); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	for _, statement := range []struct {
		into **sql.Stmt
		text string
	}{
		{&s.keyLookup, sqlKeyLookup},
		{&s.hold, sqlHold},
		{&s.addOrder, sqlAddOrder},
		{&s.addLine, sqlAddLine},
		{&s.addTransition, sqlAddTransition},
		{&s.addEntry, sqlAddEntry},
		{&s.addEvent, sqlAddEvent},
		{&s.addWaiting, sqlAddWaiting},
		{&s.addKey, sqlAddKey},
	} {
		var err error
		//nolint:sqlclosecheck // kept as long as the database is open
		if *statement.into, err = s.db.PrepareContext(ctx, statement.text); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	return nil
}

func (s *rowLock) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("PUT /v1/products/{id}", s.putProduct)
	routes.HandleFunc("POST /v1/products/{id}/stock", s.addStock)
	routes.HandleFunc("GET /v1/products/{id}/stock", s.getStock)
	routes.HandleFunc("POST /v1/orders", s.placeOrder)
	return routes
}

var (
	errOutOfStock = errors.New("out_of_stock")
	errUnknown    = errors.New("unknown product")
)

func (s *rowLock) placeOrder(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, rowLockBodyMax))
	var in placeShape
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || len(in.Lines) == 0 {
		writeCode(w, http.StatusBadRequest, "malformed_request")
		return
	}
	// Rows are locked in one order, or two orders of the same products would wait for each other.
	slices.SortFunc(in.Lines, func(a, b placeLine) int { return cmp.Compare(a.ProductID, b.ProductID) })
	key, fingerprint := sha256.Sum256([]byte(r.Header.Get("Idempotency-Key"))), sha256.Sum256(body)
	// An order is placed even when the buyer has gone; and a context without an end spares a goroutine a statement.
	answer, err := s.place(context.WithoutCancel(r.Context()), &in, key[:16], fingerprint[:16])
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	case errors.Is(err, errOutOfStock):
		writeCode(w, http.StatusConflict, "out_of_stock")
	case errors.Is(err, errUnknown):
		writeCode(w, http.StatusUnprocessableEntity, "invalid_request")
	case busy(err):
		writeCode(w, http.StatusServiceUnavailable, "overloaded")
	default:
		writeCode(w, http.StatusInternalServerError, err.Error())
	}
}

func busy(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_BUSY
}

func writeCode(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code})
}

// place is the one transaction of an order. It returns the bytes of the order.
func (s *rowLock) place(ctx context.Context, in *placeShape, key, fingerprint []byte) ([]byte, error) {
	order, payWindow, err := s.price(in)
	if err != nil {
		return nil, err
	}
	sqlTx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer sqlTx.Rollback()
	tx := &rowLockTx{Tx: sqlTx, ctx: ctx}
	var stored []byte
	if found := tx.row(s.keyLookup, key).Scan(&stored); !errors.Is(found, sql.ErrNoRows) {
		return stored, found
	}
	number, now := s.number.Add(1), time.Now()
	payBy := now.Add(payWindow)
	order.OrderNo = strconv.FormatInt(number, 10)
	order.CreatedAt, order.PayBy, order.SecondsLeft = wireTime(now), wireTime(payBy), int64(payWindow.Seconds())
	answer, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	for i, line := range order.Lines {
		var version int64
		switch err := tx.row(s.hold, line.ProductID, line.Quantity).Scan(&version); {
		case errors.Is(err, sql.ErrNoRows):
			return nil, errOutOfStock
		case err != nil:
			return nil, err
		}
		tx.run(s.addEntry, line.ProductID, version, line.Quantity, number, now.UnixMilli())
		tx.run(s.addLine, number, i, line.ProductID, line.Title, line.Quantity, line.UnitPrice.Amount)
	}
	tx.run(s.addOrder, number, order.UserID, order.Total.Currency, order.Total.Amount, now.UnixMilli(), payBy.UnixMilli(), "{}")
	tx.run(s.addTransition, number, now.UnixMilli())
	tx.run(s.addEvent, order.OrderNo, now.UnixMilli(), string(answer))
	tx.run(s.addWaiting, number%rowLockShards)
	tx.run(s.addKey, key, fingerprint, number)
	if tx.err != nil {
		return nil, tx.err
	}
	return answer, tx.Commit()
}

// rowLockTx runs statements until one fails.
type rowLockTx struct {
	*sql.Tx
	ctx context.Context //nolint:containedctx // as long as the one call it belongs to
	err error
}

func (t *rowLockTx) run(statement *sql.Stmt, args ...any) {
	if t.err == nil {
		_, t.err = t.StmtContext(t.ctx, statement).ExecContext(t.ctx, args...) //nolint:sqlclosecheck // ends with the transaction
	}
}

func (t *rowLockTx) row(statement *sql.Stmt, args ...any) *sql.Row {
	return t.StmtContext(t.ctx, statement).QueryRowContext(t.ctx, args...) //nolint:sqlclosecheck // ends with the transaction
}

// price is the order as it will be, but for its number and times, and how long it may stay unpaid.
func (s *rowLock) price(in *placeShape) (*orderShape, time.Duration, error) {
	order := &orderShape{UserID: in.UserID, Status: "pending", Version: 1, Metadata: in.Metadata}
	if order.Metadata == nil {
		order.Metadata = map[string]any{}
	}
	payWindow := longPayWindow
	for _, line := range in.Lines {
		s.mu.RLock()
		product, ok := s.products[line.ProductID]
		s.mu.RUnlock()
		if !ok {
			return nil, 0, errUnknown
		}
		order.Lines = append(order.Lines, lineShape{line.ProductID, product.title, line.Quantity, product.price})
		order.Total.Amount += product.price.Amount * line.Quantity
		order.Total.Currency = product.price.Currency
		payWindow = min(payWindow, product.payWindow)
	}
	return order, payWindow, nil
}
