package cli

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeAnswersAndStops(t *testing.T) {
	s := newShell(t)
	d := s.serve(t, "--demo")
	resp, err := http.Get(d.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s, want it ready", resp.Status)
	}
	if got := d.stdout.String(); !strings.Contains(got, "sku-ticket") {
		t.Errorf("got %q, want the samples named", got)
	}
	if code := d.stop(); code != exitOK {
		t.Errorf("got exit %d and %s, want 0", code, d.stderr)
	}
}

func TestServeThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newShell(t)
	for says, args := range map[string][]string{
		"address already in use": {"--listen", taken.Addr().String()},
		"does not exist":         {"--listen", "127.0.0.1:0", "--database-url", "sqlite:" + filepath.Join(s.folder, "nowhere", "x.db")},
	} {
		code, _, stderr := s.run(t, append([]string{"serve", "--log-level", "error"}, args...)...)
		wantExit(t, says, code, exitFailed, stderr, says)
	}
}
