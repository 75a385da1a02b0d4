package bench

import (
	"os"
	"strings"
	"testing"
)

func TestListeningLineIsFound(t *testing.T) {
	for _, c := range []struct{ printed, want string }{
		{"listening on http://127.0.0.1:41234\n", "http://127.0.0.1:41234"},
		{"opening the database\nlistening on http://127.0.0.1:41234\nmore\n", "http://127.0.0.1:41234"},
		{`time=2026-11-20T10:00:00Z level=INFO msg="listening on http://[::1]:8080"` + "\n", "http://[::1]:8080"},
		{`{"level":"INFO","msg":"listening on https://localhost:8443"}`, "https://localhost:8443"},
		{"listening for changes\n", ""},
		{"", ""},
	} {
		got, ok := listeningAddress([]byte(c.printed))
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q: got %q, %t, want %q", c.printed, got, ok, c.want)
		}
	}
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	_, err := startProcess(t.Context(), t.TempDir(), "log", nil, os.Args[0], "bench", "no-such-mode")
	if err == nil || !strings.Contains(err.Error(), "it ended at once") || !strings.Contains(err.Error(), "no-such-mode") {
		t.Errorf("got %v, want an error with what the process printed", err)
	}
}
