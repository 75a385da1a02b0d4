package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzWriting: what is written is JSON, on one line, and is read back as what it was.
func FuzzWriting(f *testing.F) {
	for _, s := range []string{"", "a", `"`, `\`, "\x00", "\n", "é😀", "\u2028", "\xff", "</script>", "\x7f", "\ufffd", "\xed\xa0\x80", "\\u0000"} {
		f.Add(s, int64(0))
		f.Add(s, int64(1_790_000_000_123))
	}
	f.Fuzz(func(t *testing.T, s string, ms int64) {
		text := AppendString(nil, s)
		var back string
		if err := json.Unmarshal(text, &back); err != nil || strings.ContainsAny(string(text), "\r\n\x00") || !utf8.Valid(text) {
			t.Fatalf("%q was written as %q: %v", s, text, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Fatalf("%q was written as %q, which reads %q", s, text, back)
		}
		const last = 253_402_300_799_999 // of the year 9999
		if ms < 0 || ms > last {
			return
		}
		var at time.Time
		if err := json.Unmarshal(AppendTime(nil, time.UnixMilli(ms)), &at); err != nil || at.UnixMilli() != ms {
			t.Fatalf("%d ms was written as %s: %v", ms, AppendTime(nil, time.UnixMilli(ms)), err)
		}
	})
}
