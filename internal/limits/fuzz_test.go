package limits

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzText: a text that is accepted is short enough, valid UTF-8, and would neither break a log line nor hide in one.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "a", "é", "😀", "a\x00", "a\nb", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "\ufffd", "\xff", "\xed\xa0\x80", "\u00a0", "\x7f", "\u0085", "e\u0301",
		strings.Repeat("x", IDChars), strings.Repeat("😀", IDChars+1),
	} {
		f.Add(s, 8)
		f.Add(s, IDChars)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		if wrong := ID(s); (wrong == "") != (s != "" && Text(s, IDChars) == "") {
			t.Fatalf("%q as an id: %q", s, wrong)
		}
		if Text(s, most) != "" {
			return
		}
		if !utf8.ValidString(s) || utf8.RuneCountInString(s) > max(most, 0) && s != "" {
			t.Fatalf("%q was accepted as at most %d characters", s, most)
		}
		for _, r := range s {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || r == utf8.RuneError {
				t.Fatalf("%q was accepted with %U", s, r)
			}
		}
	})
}
