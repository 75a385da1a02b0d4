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
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rivalBodyMax = 64 << 10
	rivalShards  = 8
)

// The statements of one order, in the order they run, but for those of its stock.
const (
	sqlKeyLookup = `SELECT o.data FROM idempotency_keys k JOIN outbox o
	    ON o.subject_kind = 'order' AND o.subject = CAST(k.order_no AS %s) AND o.sequence = 1 WHERE k.key = ?`
	sqlAddLine  = `INSERT INTO order_lines (order_no, line, product_id, title, quantity, unit_price) VALUES (?, ?, ?, ?, ?, ?)`
	sqlAddOrder = `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by,
	    close_reason, paid_late, reminded, version, events, metadata) VALUES (?, ?, 'pending', ?, ?, ?, ?, '', 0, 0, 1, 1, ?)`
	sqlAddTransition = `INSERT INTO order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)
	    VALUES (?, 1, '', 'pending', '', 1, ?)`
	sqlAddEvent = `INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data)
	    VALUES (%s, 'order', ?, 1, 'order.placed', ?, ?)`
	sqlAddWaiting = `INSERT INTO outbox_waiting (shard, event_id) VALUES (?, %s)`
	sqlAddKey     = `INSERT INTO idempotency_keys VALUES (?, ?, ?)` // key is a word of MySQL's own
)

// RivalOptions say what a rival is to be and where.
type RivalOptions struct {
	Scenario string // row-lock or unit-rows
	Listen   string
	Database string // the URL of a new one
	Pool     int    // connections to it
}

// ServeRival serves a rival until ctx ends: what a shop writes for itself with net/http, encoding/json and database/sql, one
// transaction an order. It writes the same rows as Holdfast, with the same durability, and keeps its stock as the scenario
// says. It is favoured: it knows its products by heart, asks nobody for a key, tells no stock.changed, and numbers orders from
// memory. It prints where it listens to out.
func ServeRival(ctx context.Context, o RivalOptions, out io.Writer) error {
	rival, err := openRival(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(serveRival(ctx, o.Listen, out, rival.routes()), rival.db.Close())
}

// stockKeeper is how a rival keeps its stock.
type stockKeeper interface {
	statements() []string // that take runs
	take(tx *rivalTx, line lineShape, number, now int64) error
	add(ctx context.Context, product string, units int64) error
	level(ctx context.Context, product string) (stockLevel, error)
}

// keepers are the rivals, by the scenarios that measure them.
var keepers = map[string]struct {
	make   func(*rival) stockKeeper
	tables []string // beside those of Holdfast
}{
	rowLockScenario:  {newStockRows, nil},
	unitRowsScenario: {newUnitRows, []string{"units"}},
}

type rival struct {
	db       *sql.DB
	dialect  *dialect
	stock    stockKeeper
	prepared map[string]*sql.Stmt // by text
	number   atomic.Int64
	mu       sync.RWMutex
	products map[string]rivalProduct

	keyLookup, addEvent, addWaiting string
}

type rivalProduct struct {
	title     string
	price     moneyShape
	payWindow time.Duration
}

func openRival(ctx context.Context, o RivalOptions) (*rival, error) {
	keeper, ok := keepers[o.Scenario]
	if !ok {
		return nil, fmt.Errorf("%w: no rival %q", ErrOptions, o.Scenario)
	}
	db, dialect, err := openDatabase(ctx, o.Database, o.Pool)
	if err != nil {
		return nil, err
	}
	s := &rival{
		db: db, dialect: dialect, prepared: make(map[string]*sql.Stmt), products: make(map[string]rivalProduct),
		keyLookup: fmt.Sprintf(sqlKeyLookup, dialect.text),
		addEvent:  fmt.Sprintf(sqlAddEvent, dialect.eventID), addWaiting: fmt.Sprintf(sqlAddWaiting, dialect.lastID),
	}
	s.stock = keeper.make(s)
	today, _ := strconv.ParseInt(time.Now().UTC().Format("20060102"), 10, 64)
	s.number.Store(today * 10_000_000)
	for _, file := range append([]string{dialect.folder}, keeper.tables...) {
		if err := makeTables(ctx, db, file); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *rival) prepare(ctx context.Context) error {
	all := []string{s.keyLookup, sqlAddLine, sqlAddOrder, sqlAddTransition, s.addEvent, s.addWaiting, sqlAddKey}
	for _, text := range append(all, s.stock.statements()...) {
		statement, err := s.db.PrepareContext(ctx, s.dialect.placeholders(text)) //nolint:sqlclosecheck // kept as long as the database is open
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		s.prepared[text] = statement
	}
	return nil
}

// exec and row are for what is not part of an order.
func (s *rival) exec(ctx context.Context, statement string, args ...any) error {
	_, err := s.db.ExecContext(ctx, s.dialect.placeholders(statement), args...) //nolint:gosec // a text of ours
	return err
}

func (s *rival) row(ctx context.Context, statement string, args ...any) *sql.Row {
	return s.db.QueryRowContext(ctx, s.dialect.placeholders(statement), args...) //nolint:gosec // a text of ours
}

func (s *rival) routes() http.Handler {
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

func (s *rival) placeOrder(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, rivalBodyMax))
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
	case s.dialect.transient(err):
		writeCode(w, http.StatusServiceUnavailable, "overloaded")
	default:
		writeCode(w, http.StatusInternalServerError, err.Error())
	}
}

func writeCode(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code})
}

// place is the one transaction of an order. It returns the bytes of the order.
func (s *rival) place(ctx context.Context, in *placeShape, key, fingerprint []byte) ([]byte, error) {
	order, payWindow, err := s.price(in)
	if err != nil {
		return nil, err
	}
	sqlTx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer sqlTx.Rollback()
	tx := &rivalTx{Tx: sqlTx, ctx: ctx, prepared: s.prepared}
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
		if err := s.stock.take(tx, line, number, now.UnixMilli()); err != nil {
			return nil, err
		}
		tx.run(sqlAddLine, number, i, line.ProductID, line.Title, line.Quantity, line.UnitPrice.Amount)
	}
	tx.run(sqlAddOrder, number, order.UserID, order.Total.Currency, order.Total.Amount, now.UnixMilli(), payBy.UnixMilli(), "{}")
	tx.run(sqlAddTransition, number, now.UnixMilli())
	tx.run(s.addEvent, order.OrderNo, now.UnixMilli(), string(answer))
	tx.run(s.addWaiting, number%rivalShards)
	tx.run(sqlAddKey, key, fingerprint, number)
	if tx.err != nil {
		return nil, tx.err
	}
	return answer, tx.Commit()
}

// rivalTx runs statements until one fails.
type rivalTx struct {
	*sql.Tx
	ctx      context.Context //nolint:containedctx // as long as the one call it belongs to
	prepared map[string]*sql.Stmt
	err      error
}

func (t *rivalTx) run(text string, args ...any) {
	if t.err == nil {
		_, t.err = t.exec(text, args...)
	}
}

func (t *rivalTx) exec(text string, args ...any) (sql.Result, error) {
	return t.statement(text).ExecContext(t.ctx, args...) //nolint:sqlclosecheck // ends with the transaction
}

func (t *rivalTx) row(text string, args ...any) *sql.Row {
	return t.statement(text).QueryRowContext(t.ctx, args...) //nolint:sqlclosecheck // ends with the transaction
}

func (t *rivalTx) rows(text string, args ...any) (*sql.Rows, error) {
	return t.statement(text).QueryContext(t.ctx, args...) //nolint:sqlclosecheck // ends with the transaction
}

func (t *rivalTx) statement(text string) *sql.Stmt { return t.StmtContext(t.ctx, t.prepared[text]) }

// price is the order as it will be, but for its number and times, and how long it may stay unpaid.
func (s *rival) price(in *placeShape) (*orderShape, time.Duration, error) {
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
