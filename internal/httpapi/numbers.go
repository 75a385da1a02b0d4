package httpapi

import (
	"math"
	"strconv"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// listNumbers shows how far the numbers of each day have come.
func (s *Server) listNumbers(x *exchange) error {
	limit, after := x.limit(), x.after("")
	if err := x.fields.invalid(); err != nil {
		return err
	}
	before := order.Day(math.MaxInt64)
	if after != nil {
		before = order.Day(numberAt(after))
	}
	days, err := s.desk.Record.NumberDays(x.ctx, before, limit+1)
	if err != nil {
		return err
	}
	var next []byte
	if len(days) > limit {
		days = days[:limit]
		next = placeOf(int64(days[limit-1].Day))
	}
	x.page(len(days), "", next, func(b []byte, i int) []byte { return appendNumberDay(b, &days[i]) })
	return nil
}

func appendNumberDay(b []byte, n *checkout.NumberDay) []byte {
	day := strconv.FormatInt(int64(n.Day), 10) // yyyymmdd
	b = wire.AppendString(append(b, `{"day":`...), day[:4]+"-"+day[4:6]+"-"+day[6:])
	b = strconv.AppendInt(append(b, `,"granted":`...), n.Granted, 10)
	b = strconv.AppendInt(append(b, `,"used":`...), n.Used, 10)
	if n.Last == 0 {
		return append(b, `,"last":null}`...)
	}
	b = append(n.Last.Append(append(b, `,"last":"`...)), '"')
	return append(b, '}')
}
