package httpapi

import (
	"slices"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// listEvents reads on in the log. There is always a next cursor: at the end of the log it waits there for what comes.
func (s *Server) listEvents(x *exchange) error {
	filter := checkout.EventFilter{Types: x.eventTypes(), OrderNo: x.orderNoParam(), Limit: x.limit()}
	bound := filter.OrderNo.String()
	for _, t := range filter.Types {
		bound += "\x00" + string(t)
	}
	place := x.after(bound)
	filter.After, filter.Anew = numberAt(place), place == nil
	if err := x.fields.invalid(); err != nil {
		return err
	}
	end, err := s.pageEnd(x, &filter)
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

// pageEnd settles how far a page looks, before it does: whatever it does not show up to there, the filter does not want.
// Looking for types goes no further than limits.EventsScanned, should there be none of them.
func (s *Server) pageEnd(x *exchange, filter *checkout.EventFilter) (end int64, err error) {
	if filter.Anew {
		if filter.After, err = s.desk.Record.LogStart(x.ctx); err != nil {
			return 0, err
		}
	}
	if end, err = s.desk.Record.LogEnd(x.ctx); err != nil {
		return 0, err
	}
	if len(filter.Types) > 0 && filter.OrderNo == 0 {
		end = min(end, filter.After+limits.EventsScanned)
		filter.Until = max(end, filter.After, 1)
	}
	return end, nil
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
