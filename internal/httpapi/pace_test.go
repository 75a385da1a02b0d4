package httpapi

import (
	"testing"
	"time"
)

func TestRefusalsAreSpreadAndNoneWaitsLong(t *testing.T) {
	p := &pace{every: 100 * time.Millisecond}
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC).UnixNano()
	last := refusalWaitMax.Milliseconds() / 100
	for i := range last + 3 {
		if got, want := p.turn(now).Milliseconds(), 100*min(i, last); got != want {
			t.Errorf("refusal %d waits %d ms, want %d ms", i, got, want)
		}
	}
	later := now + int64(10*time.Second)
	if got := p.turn(later); got != 0 {
		t.Errorf("after a quiet time a refusal waits %s, want none", got)
	}
}
