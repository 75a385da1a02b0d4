package httpapi

import (
	"math"
	"net/http"
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
	left := make([]int64, len(days))
	for i := range days {
		if left[i], err = s.desk.Numbers.Unused(x.ctx, days[i].Day); err != nil {
			return err
		}
	}
	x.page(len(days), "", next, func(b []byte, i int) []byte { return appendNumberDay(b, &days[i], left[i]) })
	return nil
}

// fillNumbers makes numbers ready.
func (s *Server) fillNumbers(x *exchange) error {
	added, err := s.desk.Numbers.Fill(x.ctx)
	if err != nil {
		return err
	}
	x.json(http.StatusOK, append(strconv.AppendInt([]byte(`{"added":`), added, 10), '}'))
	return nil
}

// purgeNumbers removes those of the days before today.
func (s *Server) purgeNumbers(x *exchange) error {
	removed, err := s.desk.Numbers.Purge(x.ctx)
	if err != nil {
		return err
	}
	x.json(http.StatusOK, append(strconv.AppendInt([]byte(`{"removed":`), removed, 10), '}'))
	return nil
}

func appendNumberDay(b []byte, n *checkout.NumberDay, left int64) []byte {
	left = min(left, max(n.Granted-n.Used, 0)) // an order may have come between the two looks
	day := strconv.FormatInt(int64(n.Day), 10) // yyyymmdd
	b = wire.AppendString(append(b, `{"day":`...), day[:4]+"-"+day[4:6]+"-"+day[6:])
	b = strconv.AppendInt(append(b, `,"granted":`...), n.Granted, 10)
	b = strconv.AppendInt(append(b, `,"used":`...), n.Used, 10)
	b = strconv.AppendInt(append(b, `,"left":`...), left, 10)
	b = strconv.AppendInt(append(b, `,"lost":`...), max(n.Granted-n.Used, 0)-left, 10)
	if n.Last == 0 {
		return append(b, `,"last":null}`...)
	}
	b = append(n.Last.Append(append(b, `,"last":"`...)), '"')
	return append(b, '}')
}
