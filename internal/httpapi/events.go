package httpapi

import (
	"slices"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// listEvents reads on in the log. There is always a next cursor: at the end of the log it waits there for what comes.
func (s *Server) listEvents(x *exchange) error {
	filter := checkout.EventFilter{Types: x.eventTypes(), OrderNo: x.orderNoParam(), Limit: x.limit()}
	bound := filter.OrderNo.String()
	for _, t := range filter.Types {
		bound += "\x00" + string(t)
	}
	filter.After = numberAt(x.after(bound))
	if err := x.fields.invalid(); err != nil {
		return err
	}
	// The end is read first: whatever the page does not show up to there, the filter does not want.
	end, err := s.desk.Record.LogEnd(x.ctx)
	if err != nil {
		return err
	}
	events, err := s.desk.Record.Events(x.ctx, filter)
	if err != nil {
		return err
	}
	next := max(filter.After, end)
	if n := len(events); n == filter.Limit || n > 0 && events[n-1].Position > next {
		next = events[n-1].Position
	}
	x.page(len(events), bound, placeOf(next), func(b []byte, i int) []byte { return events[i].AppendCloudEvent(b) })
	return nil
}

// eventTypes reads ?types=a,b in one spelling: sorted, each once.
func (x *exchange) eventTypes() []event.Type {
	value, there := x.given("types")
	if !there {
		return nil
	}
	var types []event.Type
	for name := range strings.SplitSeq(value, ",") {
		t := event.Type(name)
		if !slices.Contains(event.Types(), t) {
			x.fields.note("types", "must be types of events, separated by commas")
			return nil
		}
		types = append(types, t)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func (x *exchange) orderNoParam() order.Number {
	value, there := x.given("order_no")
	if !there {
		return 0
	}
	no, err := order.ParseNumber(value)
	if err != nil {
		x.fields.note("order_no", "must be an order number")
	}
	return no
}
