package sandbox

import "testing"

func TestCountdownReadsAsPeopleSayIt(t *testing.T) {
	for seconds, want := range map[int64]string{
		0: "0:00", 9: "0:09", 60: "1:00", 1782: "29:42", 3600: "1:00:00", 5041: "1:24:01", 86_400: "1 d 0:00:00", 2_592_000: "30 d 0:00:00",
	} {
		if got := clockText(seconds); got != want {
			t.Errorf("%d s: got %q, want %q", seconds, got, want)
		}
	}
}
