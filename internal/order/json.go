package order

import (
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// AppendJSON appends the order as every route, event and page shows it, with the countdown as it stands at now. It is
// written by hand because the ledger renders every placed order inside its one loop.
func (o *Order) AppendJSON(b []byte, now time.Time) []byte {
	b = o.appendOpen(b, now)
	return append(b, '}')
}

// AppendJSONWith is AppendJSON with one more member, whose value is already JSON.
func (o *Order) AppendJSONWith(b []byte, now time.Time, name string, value []byte) []byte {
	b = o.appendOpen(b, now)
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	b = append(b, value...)
	return append(b, '}')
}

func (o *Order) appendOpen(b []byte, now time.Time) []byte {
	b = append(b, `{"order_no":"`...)
	b = o.Number.Append(b)
	b = append(b, `","user_id":`...)
	b = wire.AppendString(b, string(o.UserID))
	b = append(b, `,"status":"`...)
	b = append(b, o.Status...)
	b = append(b, `","lines":[`...)
	for i := range o.Lines {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.appendLine(b, &o.Lines[i])
	}
	b = append(b, `],"total":`...)
	b = wire.AppendMoney(b, o.Total)
	b = wire.AppendTime(append(b, `,"created_at":`...), o.CreatedAt)
	b = wire.AppendTime(append(b, `,"pay_by":`...), o.PayBy)
	b = append(b, `,"seconds_left":`...)
	b = strconv.AppendInt(b, o.SecondsLeft(now), 10)
	b = wire.AppendTime(append(b, `,"paid_at":`...), o.PaidAt)
	b = wire.AppendTime(append(b, `,"closed_at":`...), o.ClosedAt)
	b = append(b, `,"close_reason":`...)
	b = wire.AppendOptional(b, o.CloseReason)
	b = append(b, `,"paid_late":`...)
	b = strconv.AppendBool(b, o.PaidLate)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, o.Version, 10)
	b = append(b, `,"metadata":`...)
	return wire.AppendObject(b, o.Metadata)
}

func (o *Order) appendLine(b []byte, l *Line) []byte {
	b = append(b, `{"product_id":`...)
	b = wire.AppendString(b, string(l.ProductID))
	b = append(b, `,"title":`...)
	b = wire.AppendString(b, l.Title)
	b = append(b, `,"quantity":`...)
	b = strconv.AppendInt(b, l.Quantity, 10)
	b = append(b, `,"unit_price":`...)
	b = wire.AppendMoney(b, money.Money{Amount: l.UnitPrice, Currency: o.Total.Currency})
	return append(b, '}')
}
