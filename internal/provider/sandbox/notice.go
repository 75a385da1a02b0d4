package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// notice is the body of POST /v1/callbacks/sandbox. A member that is missing or null stays nil.
type notice struct {
	OrderNo       *string `json:"order_no"`
	TransactionID *string `json:"transaction_id"`
	Amount        *int64  `json:"amount"` // minor units
	Currency      *string `json:"currency"`
	Status        *string `json:"status"`
}

// What a notice can say.
const (
	succeeded = "succeeded"
	failed    = "failed"
)

// Verify checks the signature over the raw bytes, and reads them only after that. A forged or stale notice is
// fault.ErrBadSignature; a signed one that cannot be read is ErrMalformed, one with values that cannot be is ErrInvalid.
func (p *Provider) Verify(h http.Header, raw []byte, now time.Time) (payment.Notice, error) {
	if err := p.secret.check(h, raw, now); err != nil {
		return payment.Notice{}, err
	}
	n, err := decode(raw)
	if err != nil {
		return payment.Notice{}, err
	}
	return n.read()
}

// Answer says what became of a notice. It has no words of its own for errors, so it gives them back.
func (p *Provider) Answer(w http.ResponseWriter, outcome ledger.PayOutcome, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	body := wire.AppendString([]byte(`{"received":true,"outcome":`), outcome)
	_, _ = w.Write(append(body, '}')) // a provider that has left asks again
	return nil
}

// decode reads exactly one JSON object. The whole text is looked at before its meaning, so that broken JSON is always
// malformed, whatever stands in front of the break.
func decode(raw []byte) (*notice, error) {
	if err := wellFormed(raw); err != nil {
		return nil, fault.ErrMalformed.Because(err)
	}
	n := &notice{}
	err := json.Unmarshal(raw, n, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return n, nil
	case errors.As(err, &semantic):
		field := strings.TrimPrefix(string(semantic.JSONPointer), "/")
		if errors.Is(err, json.ErrUnknownName) {
			return nil, fault.ErrInvalid.Field(field, "is not a field of a notice").Because(err)
		}
		return nil, fault.ErrInvalid.Field(field, "has the wrong type").Because(err)
	default:
		return nil, fault.ErrMalformed.Because(err)
	}
}

// wellFormed reads to the end: valid UTF-8, no duplicate names, nothing after the value, not too deep.
func wellFormed(raw []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for values := 0; ; {
		_, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF) && values == 1:
			return nil
		case err != nil:
			return err
		case d.StackDepth() > limits.JSONDepth:
			return errors.New("too deep")
		case d.StackDepth() > 0:
			continue
		}
		if values++; values > 1 {
			return errors.New("more than one value")
		}
	}
}

// read checks every field and names all that are wrong.
func (n *notice) read() (payment.Notice, error) {
	f := fault.ErrInvalid
	number, err := order.ParseNumber(value(n.OrderNo))
	if err != nil {
		f = f.Field("order_no", "must be an order number")
	}
	if wrong := limits.ID(value(n.TransactionID)); wrong != "" {
		f = f.Field("transaction_id", "%s", wrong)
	}
	if n.Amount == nil || *n.Amount < 0 {
		f = f.Field("amount", "must be a whole number of minor units, not below zero")
	}
	if !money.ValidCurrency(value(n.Currency)) {
		f = f.Field("currency", "must be three capital letters")
	}
	status := value(n.Status)
	if status != succeeded && status != failed {
		f = f.Field("status", "must be %s or %s", succeeded, failed)
	}
	if len(f.Fields) > 0 {
		return payment.Notice{}, f
	}
	return payment.Notice{
		Provider:      Name,
		OrderNumber:   number,
		TransactionID: *n.TransactionID,
		Amount:        money.Money{Amount: *n.Amount, Currency: *n.Currency},
		Succeeded:     status == succeeded,
	}, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
