package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// readyMax bounds how long it may take to find out whether the desk is ready.
const readyMax = 2 * time.Second

// getHealth says that the process answers, whatever else is wrong: restarting it would not help the others.
func (s *Server) getHealth(x *exchange) error { return s.health(x, "ok", nil) }

// getReady says whether requests should be sent here, and whether the record may lose what it has committed.
func (s *Server) getReady(x *exchange) error {
	ctx, cancel := context.WithTimeout(x.ctx, readyMax)
	defer cancel()
	if err := s.opt.Ready(ctx); err != nil {
		return notReady(err)
	}
	degraded := s.opt.Degraded()
	if len(degraded) > 0 {
		return s.health(x, "degraded", degraded)
	}
	return s.health(x, "ready", nil)
}

// notReady says what is not: in the words of the fault, where it is one; any other error is for the log.
func notReady(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Unavailable {
		return f
	}
	return fault.ErrUnavailable.Detailf("Not ready.").Because(err)
}

func (s *Server) health(x *exchange, status string, degraded []string) error {
	b := wire.AppendString(append(x.out[:0], `{"status":`...), status)
	b = wire.AppendString(append(b, `,"version":`...), s.opt.Version)
	for i, reason := range degraded {
		if i == 0 {
			b = append(b, `,"degraded":[`...)
		} else {
			b = append(b, ',')
		}
		b = wire.AppendString(b, reason)
	}
	if len(degraded) > 0 {
		b = append(b, ']')
	}
	b = append(b, '}')
	x.out = b
	x.ok(b)
	return nil
}

func (s *Server) getMetrics(x *exchange) error {
	if s.opt.Metrics == nil {
		return fault.ErrNotFound
	}
	x.lent = true
	s.opt.Metrics.ServeHTTP(x, x.r)
	return nil
}
