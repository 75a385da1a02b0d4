package order

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Number is an order's number as the record keeps it: the day and the count of the day in one integer that rises from day
// to day, so that indexes on it only ever grow at their end. People see it as yyyymmdd followed by at least 7 digits.
type Number int64

// Day is a calendar day in the desk's time zone, as the decimal yyyymmdd.
type Day int64

const perDay = 10_000_000_000 // counts of one day; the most any day can use

// CountMax is the largest count of a day.
const CountMax = perDay - 1

// ErrNumber is returned for text that is no order number.
var ErrNumber = errors.New("not an order number")

// DayOf is the calendar day of t in t's own location.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day(y*10_000 + int(m)*100 + d)
}

// NumberOf is the count-th number of a day.
func NumberOf(day Day, count int64) Number { return Number(int64(day)*perDay + count) }

// Day is the day the number belongs to.
func (n Number) Day() Day { return Day(n / perDay) }

// Count is the place of the number within its day.
func (n Number) Count() int64 { return int64(n % perDay) }

// Append appends the number as people see it.
func (n Number) Append(b []byte) []byte {
	b = strconv.AppendInt(b, int64(n.Day()), 10)
	count := n.Count()
	for limit := int64(1_000_000); limit > 1 && count < limit; limit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, count, 10)
}

func (n Number) String() string { return string(n.Append(make([]byte, 0, 18))) }

// ParseNumber reads a number as people see it. Each number has exactly one spelling: 7 digits of count, more only when they
// are needed.
func ParseNumber(s string) (Number, error) {
	if len(s) < 15 || len(s) > 18 || s[0] == '0' || (len(s) > 15 && s[8] == '0') {
		return 0, ErrNumber
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrNumber
		}
	}
	if _, err := time.Parse("20060102", s[:8]); err != nil {
		return 0, fmt.Errorf("%w: no such day", ErrNumber)
	}
	day, _ := strconv.ParseInt(s[:8], 10, 64)
	count, _ := strconv.ParseInt(s[8:], 10, 64)
	if count == 0 {
		return 0, ErrNumber
	}
	return NumberOf(Day(day), count), nil
}
