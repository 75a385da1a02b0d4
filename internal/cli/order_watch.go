package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
)

type orderWatch struct {
	orderNumber
	ToTheEnd bool `help:"Go on when the order is paid, until it is fulfilled or refunded."`
	output
}

// Help is the longer text.
func (orderWatch) Help() string {
	return `Shows the countdown on a terminal, each second, by the desk's clock; elsewhere only what happens, a line each, or with --output json an object each. It ends when nothing is left to count down: the order is paid, cancelled or expired. Cut connections are opened again, and nothing is missed.`
}

// Run watches an order.
func (c *orderWatch) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	w := watch{
		out: in.Stdout, jsonLines: c.json(), live: terminal(in.Stdout) && !c.json(), toTheEnd: c.ToTheEnd, now: d.now,
	}
	return d.told(ctx, w.follow(ctx, func(ctx context.Context) iter.Seq2[client.Message[api.Order], error] {
		return d.StreamOrder(ctx, c.OrderNo, client.StreamOptions{})
	}))
}

// watch shows what happens to an order.
type watch struct {
	out       io.Writer
	jsonLines bool
	live      bool // the last line is drawn again as time goes by
	toTheEnd  bool
	now       func() time.Time // the desk's

	order api.Order
}

type watched struct {
	message client.Message[api.Order]
	err     error
}

// follow shows the messages of a stream until the order is over, and the countdown in between.
func (w *watch) follow(ctx context.Context, open func(context.Context) iter.Seq2[client.Message[api.Order], error]) error {
	ctx, leave := context.WithCancel(ctx)
	messages := make(chan watched)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(messages)
		for m, err := range open(ctx) {
			select {
			case messages <- watched{m, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		leave()
		for range messages { // until the stream has heard of it
		}
		<-done
	}()
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case m, more := <-messages:
			if !more {
				return ctx.Err()
			}
			if m.err != nil {
				w.clear()
				return m.err
			}
			if err := w.tell(&m.message); err != nil || w.over() {
				return err
			}
			tick.Reset(0)
		case <-tick.C:
			if next := w.draw(); next > 0 {
				tick.Reset(next)
			}
		case <-ctx.Done():
			w.clear()
			return ctx.Err()
		}
	}
}

func (w *watch) over() bool {
	switch w.order.Status {
	case api.OrderPending:
		return false
	case api.OrderPaid:
		return !w.toTheEnd
	default:
		return true
	}
}

// tell shows one message, on a line that stays.
func (w *watch) tell(m *client.Message[api.Order]) error {
	w.order = m.Data
	if w.jsonLines {
		return writeJSONLine(w.out, struct {
			Position int64     `json:"position"`
			Type     string    `json:"type"`
			Order    api.Order `json:"order"`
		}{m.Position, m.Type, m.Data})
	}
	w.clear()
	_, err := io.WriteString(w.out, line("%s  %s  %s\n", w.now().UTC().Format(time.TimeOnly), w.order.OrderNo, w.words(m.Type)))
	return err
}

func (w *watch) words(kind string) string {
	o := &w.order
	text := statusLine(o, w.now())
	switch {
	case kind == client.EventOrder && o.Status == api.OrderPending:
		return fmt.Sprintf("%s: %s by %s", text, price(o.Total), o.PayBy.UTC().Format(time.DateTime+" UTC"))
	case kind == client.EventOrder || kind == "order."+o.Status:
	case kind == "order.expiring":
		text = "soon over: " + text
	default:
		text += " (" + kind + ")"
	}
	if o.CloseReason != nil {
		text += ": " + *o.CloseReason
	}
	return text
}

// draw shows the countdown and says when it changes next; 0: not before something happens.
func (w *watch) draw() time.Duration {
	if !w.live || w.order.Status != api.OrderPending {
		return 0
	}
	left := w.order.PayBy.Sub(w.now())
	text := clockText(left)
	if left <= 0 {
		text += ", its time is over"
	}
	fmt.Fprintf(w.out, "%s%s", clearLine, text)
	if left <= 0 {
		return time.Second
	}
	return (left-1)%time.Second + 1
}

// clearLine begins the line anew.
const clearLine = "\r\x1b[K"

func (w *watch) clear() {
	if w.live {
		fmt.Fprint(w.out, clearLine)
	}
}
