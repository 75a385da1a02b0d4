package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// auditMax is how long an audit may take: the connection stays open for it, whatever the server allows others.
const auditMax = 10 * time.Minute

// runAudit checks all invariants on live data. It reads everything there is, so one runs at a time.
func (s *Server) runAudit(x *exchange) error {
	if !s.audit.TryLock() {
		return fault.ErrAuditRunning
	}
	defer s.audit.Unlock()
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(auditMax)) // a recorder in a test has none
	report, err := s.desk.Record.Audit(x.ctx)
	if err != nil {
		return err
	}
	x.out = appendAudit(x.out[:0], &report)
	x.ok(x.out)
	return nil
}

func appendAudit(b []byte, r *audit.Report) []byte {
	b = strconv.AppendBool(append(b, `{"clean":`...), r.Clean)
	b = wire.AppendTime(append(b, `,"checked_at":`...), r.CheckedAt)
	b = append(b, `,"checks":[`...)
	for i := range r.Checks {
		if i > 0 {
			b = append(b, ',')
		}
		c := &r.Checks[i]
		b = wire.AppendString(append(b, `{"id":`...), c.ID)
		b = wire.AppendString(append(b, `,"name":`...), c.Name)
		b = strconv.AppendInt(append(b, `,"violations":`...), c.Violations, 10)
		b = appendStrings(append(b, `,"samples":`...), c.Samples)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

func appendStrings[S ~string](b []byte, list []S) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, s)
	}
	return append(b, ']')
}
