package httpapi

import (
	"net/http"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

// CallbackProvider is a provider that sends notices.
type CallbackProvider interface {
	Name() string
	// Verify checks the signature over the raw bytes before anything is read from them. A forged or stale notice is
	// fault.ErrBadSignature, one that cannot be read fault.ErrMalformed or ErrInvalid.
	Verify(h http.Header, raw []byte, now time.Time) (payment.Notice, error)
	// Answer writes the provider's own words, after the commit. The header carries X-Request-Id already. A provider that has no
	// words of its own for an error gives it back, and it is told as everywhere.
	Answer(w http.ResponseWriter, outcome ledger.PayOutcome, err error) error
}

// receiveNotice takes a provider's notice, in the provider's own format. The signature stands for the key.
func (s *Server) receiveNotice(x *exchange) error {
	provider := s.callback(x.r.PathValue("provider"))
	if provider == nil {
		return fault.ErrNotFound.Detailf("There is no such provider.")
	}
	raw, err := x.readBody()
	if err != nil {
		return err
	}
	notice, err := provider.Verify(x.r.Header, raw, x.now)
	var outcome ledger.PayOutcome
	if err == nil {
		outcome, err = s.desk.Notice(x.ctx, notice)
	}
	if err != nil {
		err = x.blame(err)
	}
	x.lent = true
	if err := provider.Answer(x, outcome, err); err != nil {
		x.problem(fault.Of(err)) // blamed above, so not refused, which would log it again
	}
	return nil
}

func (s *Server) callback(name string) CallbackProvider {
	for _, p := range s.opt.Callbacks {
		if p.Name() == name {
			return p
		}
	}
	return nil
}
