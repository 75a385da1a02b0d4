package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// The client's streams live through the desk's death: what happened while they were away comes first, then what happens.
func TestTheClientsStreamsOutliveTheDesk(t *testing.T) {
	db := database(t)
	s := serve(t, db)
	s.product("sku", 10, nil)
	// First the stock's event: of what waits for the log together, either subject may come first.
	testenv.Until(t, pageMax, "the delivery to be in the log", func() bool {
		var page api.Page[api.Event]
		s.want(200, &page, "GET", "/v1/events", nil)
		return len(page.Data) > 0
	})
	o := s.order("a", "u-a", line("sku", 1))
	wantStory(t, s.desk, o.OrderNo, "order.placed")
	c, err := client.New(s.url, adminKey, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	type heard struct {
		stream, kind string
		position     int64
	}
	all := make(chan heard, 100)
	failed := make(chan error, 3)
	listen := func(name string, each func(func(kind string, position int64, err error) bool)) {
		go func() {
			each(func(kind string, position int64, err error) bool {
				if err != nil {
					failed <- err
					return false
				}
				all <- heard{name, kind, position}
				return kind != "order.fulfilled"
			})
		}()
	}
	listen("order", func(yield func(string, int64, error) bool) {
		for m, err := range c.StreamOrder(ctx, o.OrderNo, client.StreamOptions{}) {
			if !yield(m.Type, m.Position, err) {
				return
			}
		}
	})
	listen("user", func(yield func(string, int64, error) bool) {
		for m, err := range c.StreamUser(ctx, "u-a", client.StreamOptions{After: 1}) {
			if !yield(m.Type, m.Position, err) {
				return
			}
		}
	})
	listen("events", func(yield func(string, int64, error) bool) {
		for m, err := range c.StreamEvents(ctx, []string{"order.placed", "order.paid", "order.fulfilled"}, client.StreamOptions{After: 1}) {
			if !yield(m.Type, m.Position, err) {
				return
			}
		}
	})
	got := map[string][]string{}
	last := map[string]int64{}
	hear := func(until func() bool) {
		t.Helper()
		for !until() {
			select {
			case h := <-all:
				if h.position <= last[h.stream] {
					t.Errorf("%s: %s at %d after %d", h.stream, h.kind, h.position, last[h.stream])
				}
				last[h.stream] = h.position
				got[h.stream] = append(got[h.stream], h.kind)
			case err := <-failed:
				t.Fatal(err)
			case <-ctx.Done():
				t.Fatalf("the streams told %v", got)
			}
		}
	}
	hear(func() bool { return len(got["order"]) == 1 && len(got["user"]) == 1 && len(got["events"]) == 1 })

	address := strings.TrimPrefix(s.url, "http://")
	s.kill()
	s = serve(t, db, "--listen", address)
	if a, err := s.notify(moneyFor(o, "t-1")); err != nil || a.status != 200 {
		t.Fatalf("pay: %v, %v", a, err)
	}
	s.kill()
	s = serve(t, db, "--listen", address)
	if _, err := c.FulfilOrder(ctx, o.OrderNo, ""); err != nil {
		t.Fatal(err)
	}
	hear(func() bool {
		return slices.Contains(got["order"], "order.fulfilled") && slices.Contains(got["user"], "order.fulfilled") && slices.Contains(got["events"], "order.fulfilled")
	})
	for name, want := range map[string][]string{
		"order": {client.EventOrder, "order.paid", "order.fulfilled"}, "user": {"order.placed", "order.paid", "order.fulfilled"},
		"events": {"order.placed", "order.paid", "order.fulfilled"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	s.stop()
}
