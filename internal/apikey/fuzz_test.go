package apikey

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzForm: a key that was made is never taken for a mistyped one; one that was changed in a single place always is, unless it no
// longer looks like ours at all and has to be looked up.
func FuzzForm(f *testing.F) {
	_, made := Make()
	for _, s := range []string{made, made[:len(made)-1], strings.ToLower(made), "hf_live_", "hf_live_x_y_z", "", "hf_test_a", strings.Repeat("hf_live_", 30), "an operator's own key, 32 or more"} {
		f.Add(s, 3, byte('x'))
		f.Add(s, len(made)-1, byte('0'))
		f.Add(s, len(prefix), byte(0))
	}
	form := regexp.MustCompile(`\Ahf_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}\z`)
	visible := regexp.MustCompile(`\A[\x21-\x7e]{32,200}\z`)
	f.Fuzz(func(t *testing.T, secret string, at int, to byte) {
		_ = Mistyped(secret)
		if Acceptable(secret) == "" != visible.MatchString(secret) {
			t.Fatalf("%q as an operator's key: %q", secret, Acceptable(secret))
		}
		_, fresh := Make()
		if Mistyped(fresh) || !form.MatchString(fresh) {
			t.Fatalf("%q was made, and looks mistyped", fresh)
		}
		if at < 0 || at >= len(fresh) || fresh[at] == to {
			return
		}
		changed := fresh[:at] + string([]byte{to}) + fresh[at+1:]
		if strings.HasPrefix(changed, prefix) && !Mistyped(changed) {
			t.Fatalf("%q with %q at %d looks well typed", fresh, to, at)
		}
	})
}
