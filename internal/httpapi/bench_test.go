package httpapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// The benchmarks measure the handler alone: the record behind it is a map, the answer goes nowhere.

func BenchmarkPlace(b *testing.B) {
	s, secret := benchServer(b)
	const body = `{"user_id":"u-00000000","lines":[{"product_id":"hot","quantity":1}]}`
	reader := bytes.NewReader([]byte(body))
	r := benchRequest("POST", "/v1/orders", secret)
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	r.Header.Set("Content-Type", "application/json")
	key := []string{""}
	r.Header["Idempotency-Key"] = key
	w := &devNull{header: http.Header{}}
	var raw [16]byte
	random := rand.NewChaCha8([32]byte{})
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset([]byte(body))
		_, _ = random.Read(raw[:])
		key[0] = hex.EncodeToString(raw[:])
		w.serve(s, r)
		if w.status != http.StatusCreated {
			b.Fatal(w.status)
		}
	}
}

func BenchmarkRefused(b *testing.B) {
	s, secret := benchServer(b)
	s.desk.Gate = &openGate{refusal: fault.ErrOutOfStock.With("product_id", "hot").With("available", int64(0))}
	const body = `{"user_id":"u-00000000","lines":[{"product_id":"hot","quantity":1}]}`
	reader := bytes.NewReader([]byte(body))
	r := benchRequest("POST", "/v1/orders", secret)
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "0123456789abcdef0123456789abcdef")
	w := &devNull{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset([]byte(body))
		w.serve(s, r)
		if w.status != http.StatusConflict {
			b.Fatal(w.status)
		}
	}
}

func BenchmarkGetOrder(b *testing.B) {
	s, secret := benchServer(b)
	o := &order.Order{
		Number: order.NumberOf(20261120, 42), UserID: "u-7", Status: order.Pending, Version: 1,
		Lines: []order.Line{{ProductID: "hot", Title: "Ticket", Quantity: 2, UnitPrice: 9900}},
		Total: money.Money{Amount: 19800, Currency: "CNY"}, CreatedAt: time.Now(), PayBy: time.Now().Add(time.Hour),
	}
	s.desk.Orders = oneOrder{o}
	r := benchRequest("GET", "/v1/orders/"+o.Number.String(), secret)
	w := &devNull{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		w.serve(s, r)
		if w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}

func BenchmarkDecodeOrder(b *testing.B) {
	raw := []byte(`{"user_id":"u-00000000","lines":[{"product_id":"hot","quantity":1}]}`)
	var f fields
	b.ReportAllocs()
	for b.Loop() {
		var want checkout.Order
		if err := f.read(raw, orderRequired, func(f *fields, name []byte) { f.orderField(&want, name) }); err != nil {
			b.Fatal(err)
		}
	}
}

func benchServer(b *testing.B) (s *Server, secret string) {
	b.Helper()
	id, secret := apikey.Make()
	key := &apikey.Key{ID: id, Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{apikey.OrdersWrite}, LastUsedAt: time.Now().Add(time.Hour)}
	road := ledger.New(mapStore{}, ledger.Options{})
	b.Cleanup(func() { _ = road.Close(context.Background()) })
	return New(&checkout.Desk{
		Ledger: road, Record: keyRecord{key: key}, Gate: &openGate{}, Orders: noCache{}, Clock: time.Now,
	}, Options{}), secret
}

func benchRequest(method, target, secret string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	return r
}

// devNull is a ResponseWriter for one answer after another.
type devNull struct {
	header http.Header
	status int
}

func (w *devNull) serve(s *Server, r *http.Request) {
	clear(w.header)
	w.status = 0
	s.ServeHTTP(w, r)
}

func (w *devNull) Header() http.Header         { return w.header }
func (w *devNull) WriteHeader(status int)      { w.status = status }
func (w *devNull) Write(b []byte) (int, error) { return len(b), nil }

type oneOrder struct{ *order.Order }

func (o oneOrder) Get(order.Number) *order.Order { return o.Order }
func (o oneOrder) Fill(order.Number, func() (*order.Order, error)) (*order.Order, error) {
	return o.Order, nil
}

type keyRecord struct {
	checkout.Record
	key *apikey.Key
}

func (r keyRecord) KeyByHash(context.Context, apikey.Hash) (*apikey.Key, error) { return r.key, nil }
