package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
)

// Header carries the signature of a notice: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<raw body>">.
const Header = "Holdfast-Signature"

// A notice may be this old, or this much ahead of our clock.
const ageMax = 300 * time.Second

// Secret is what both sides know.
type Secret []byte

// Sign gives the header of a body sent at a time.
func (s Secret) Sign(raw []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + s.sum(t, raw)
}

func (s Secret) sum(t string, raw []byte) string {
	mac := hmac.New(sha256.New, s)
	mac.Write([]byte(t))
	mac.Write([]byte("."))
	mac.Write(raw)
	return hex.EncodeToString(mac.Sum(nil))
}

// Sign gives the header of a body sent at a time, signed by this provider.
func (p *Provider) Sign(raw []byte, at time.Time) string { return p.secret.Sign(raw, at) }

// check refuses whatever was not signed with the secret around now. A signature has one spelling only.
func (s Secret) check(h http.Header, raw []byte, now time.Time) error {
	sent := h.Values(Header)
	if len(sent) != 1 {
		return fault.ErrBadSignature.Because(errors.New("there is not one " + Header))
	}
	t, sum, _ := strings.Cut(strings.TrimPrefix(sent[0], "t="), ",v1=")
	seconds, err := strconv.ParseUint(t, 10, 40)
	if err != nil || sent[0] != "t="+t+",v1="+sum {
		return fault.ErrBadSignature.Because(errors.New("the header is not t=<unix seconds>,v1=<hex>"))
	}
	if !hmac.Equal([]byte(s.sum(t, raw)), []byte(sum)) {
		return fault.ErrBadSignature.Because(errors.New("signed with another secret, or another body"))
	}
	if age := now.Sub(time.Unix(int64(seconds), 0)); age.Abs() > ageMax {
		return fault.ErrBadSignature.Because(errors.New("the time of the signature is too far from ours"))
	}
	return nil
}
