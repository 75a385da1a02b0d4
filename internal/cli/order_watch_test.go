package cli

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

type told struct {
	after   time.Duration
	message client.Message[api.Order]
	err     error
}

// telling is a stream that tells things after a while each, and then nothing more.
func telling(all ...told) func(context.Context) iter.Seq2[client.Message[api.Order], error] {
	return func(ctx context.Context) iter.Seq2[client.Message[api.Order], error] {
		return func(yield func(client.Message[api.Order], error) bool) {
			for _, t := range all {
				select {
				case <-time.After(t.after):
				case <-ctx.Done():
					return
				}
				if !yield(t.message, t.err) {
					return
				}
			}
			<-ctx.Done()
		}
	}
}

// story is an order of 3 s that is paid, or not.
func story(status string, after time.Duration) []told {
	now := time.Now()
	o := api.Order{OrderNo: "202611200000042", Status: api.OrderPending, Total: api.Money{Amount: 100, Currency: "CNY"}, PayBy: now.Add(3 * time.Second)}
	last := o
	last.Status = status
	return []told{
		{0, client.Message[api.Order]{Position: 1, Type: client.EventOrder, Data: o}, nil},
		{after, client.Message[api.Order]{Position: 2, Type: "order." + status, Data: last}, nil},
	}
}

func TestTheCountdownTicksEachSecondAndEndsWithTheOrder(t *testing.T) {
	for _, c := range []struct {
		status string
		after  time.Duration
		want   []string
	}{
		{api.OrderPaid, 1500 * time.Millisecond, []string{"0:03", "0:02", "paid"}},
		{api.OrderExpired, 3200 * time.Millisecond, []string{"0:03", "0:02", "0:01", "0:00, its time is over", "expired"}},
		{api.OrderCancelled, 500 * time.Millisecond, []string{"0:03", "cancelled"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			w := watch{out: &out, live: true, now: time.Now}
			begun := time.Now()
			if err := w.follow(t.Context(), telling(story(c.status, c.after)...)); err != nil || time.Since(begun) != c.after {
				t.Errorf("%s: got %v after %v, want its end after %v", c.status, err, time.Since(begun), c.after)
			}
			var got []string
			drawn := strings.Split(out.String(), clearLine)
			for _, line := range drawn[1:] {
				if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "pending") {
					got = append(got, strings.TrimSpace(line[strings.LastIndex(line, "  ")+1:]))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.status, got, c.want)
			}
			if !strings.HasSuffix(out.String(), c.status+"\n") {
				t.Errorf("%s: it ends with %q", c.status, drawn[len(drawn)-1])
			}
		})
	}
}

func TestElsewhereThanOnATerminalThereAreLinesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := watch{out: &out, now: time.Now}
		if err := w.follow(t.Context(), telling(story(api.OrderPaid, 2*time.Second)...)); err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(got) != 2 || strings.Contains(out.String(), "\r") || !strings.Contains(got[0], "pending, 0:03 left to pay: CNY 1.00 by ") || !strings.HasSuffix(got[1], "paid") {
			t.Errorf("got %q, want a line for the order and one for its end", got)
		}
		out.Reset()
		w = watch{out: &out, now: time.Now, jsonLines: true}
		if err := w.follow(t.Context(), telling(story(api.OrderPaid, 0)...)); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `{"position":2,"type":"order.paid","order":{"order_no":`) {
			t.Errorf("as JSON: got %q", got)
		}
	})
}

func TestWatchGoesOnToTheEndWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := story(api.OrderPaid, time.Second)
		last := all[1].message
		last.Data.Status, last.Type = api.OrderFulfilled, "order.fulfilled"
		var out bytes.Buffer
		w := watch{out: &out, now: time.Now, toTheEnd: true}
		begun := time.Now()
		err := w.follow(t.Context(), telling(append(all, told{time.Hour, last, nil})...))
		if err != nil || time.Since(begun) != time.Hour+time.Second || !strings.HasSuffix(out.String(), "fulfilled\n") {
			t.Errorf("got %v after %v and %q", err, time.Since(begun), out.String())
		}
	})
}

func TestWatchEndsWithItsStreamAndItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		gone := errors.New("gone")
		w := watch{out: &out, live: true, now: time.Now}
		all := []told{story(api.OrderPaid, time.Second)[0], {time.Second, client.Message[api.Order]{}, gone}}
		if err := w.follow(t.Context(), telling(all...)); !errors.Is(err, gone) {
			t.Errorf("got %v, want %v", err, gone)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := w.follow(ctx, telling(story(api.OrderPaid, time.Hour)...)); !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(out.String(), clearLine) {
			t.Errorf("got %v and %q, want the line cleared", err, out.String())
		}
	})
}

// The real command over a real desk: it tells what is and what comes, and ends by itself.
func TestWatchTellsOfARealOrder(t *testing.T) {
	s := newShell(t)
	s.serve(t, "--demo")
	o := made[api.Order](t, s.must(t, "order", "place", "sku-ticket", "--user", "u-7", "-o", "json"))
	p, stdout, stderr := s.program("order", "watch", o.OrderNo)
	ended := make(chan int, 1)
	go func() { ended <- p.Run(t.Context()) }()
	testenv.Until(t, patience, "the time left is shown", func() bool { return strings.Contains(stdout.String(), "left to pay") })
	s.must(t, "order", "pay", o.OrderNo)
	select {
	case code := <-ended:
		if code != exitOK || !strings.HasSuffix(stdout.String(), "  paid\n") {
			t.Errorf("got exit %d, %q and %q, want it to end with the payment", code, stdout, stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end: %q", stdout)
	}
}
