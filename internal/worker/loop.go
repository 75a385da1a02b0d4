package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// every runs a turn, again at once while there is more, and then after the interval, until ctx ends. The interval is a little longer
// or shorter each time, so that processes which began at the same moment do not always do the same work at the same moment.
func every(ctx context.Context, interval time.Duration, log *slog.Logger, name string, turn func(context.Context) (more bool, err error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		more, err := turn(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error("loop failed", "loop", name, "err", err)
		}
		if more && err == nil {
			timer.Reset(0)
		} else {
			timer.Reset(interval*9/10 + rand.N(interval/5)) //nolint:gosec // not secret
		}
	}
}
