package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
)

func TestKeyIsMadeUsedListedAndRevoked(t *testing.T) {
	s := newShell(t)
	s.serve(t)
	code, stdout, stderr := s.run(t, "key", "create", "checkout service", "--scope", "orders:write,users:read", "--scope", "admin", "--expires-in", "1h")
	key := strings.TrimSpace(stdout)
	if code != exitOK || !strings.HasPrefix(key, "hf_live_") || apikey.Mistyped(key) {
		t.Fatalf("got exit %d, %q and %q, want a key and nothing else", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "(checkout service) may: orders:write, users:read, admin.") {
		t.Errorf("got %q, want what the key may do", stderr)
	}

	mine := &shell{folder: s.folder, environ: append(s.environ[:len(s.environ):len(s.environ)], "HOLDFAST_API_KEY="+key)}
	list := mine.must(t, "key", "list")
	if !strings.Contains(list, "checkout service  orders:write users:read admin") || !strings.Contains(list, "valid until ") || strings.Contains(list, "hf_live_") {
		t.Errorf("got %s", list)
	}
	var keys api.Page[api.Key]
	if err := json.Unmarshal([]byte(mine.must(t, "key", "list", "--output", "json")), &keys); err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, k := range keys.Data {
		if k.Name == "checkout service" {
			id = k.KeyID
		}
	}
	if code, stdout, stderr := s.run(t, "key", "revoke", id); code != exitOK || stdout != "" || !strings.Contains(stderr, "is revoked") {
		t.Errorf("got exit %d, %q and %q", code, stdout, stderr)
	}
	code, _, stderr = mine.run(t, "key", "list")
	wantExit(t, "with the revoked key", code, exitFailed, stderr, "the desk refused: unauthenticated: ")
	if list := s.must(t, "key", "list"); !strings.Contains(list, "revoked ") {
		t.Errorf("got %s, want the key revoked", list)
	}
}

func TestKeyCanBeCaughtAsJSON(t *testing.T) {
	s := newShell(t)
	s.serve(t)
	var made api.CreatedKey
	if err := json.Unmarshal([]byte(s.must(t, "key", "create", "ci", "--scope", "events:read", "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	if made.Name != "ci" || apikey.Mistyped(made.Key) || made.ExpiresAt != nil {
		t.Errorf("got %+v", made)
	}
}

func TestWhatTheDeskRefusesIsOneLine(t *testing.T) {
	s := newShell(t)
	s.serve(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"create", "ci", "--scope", "everything"}, "invalid_request"},
		{[]string{"create", "", "--scope", "admin"}, "name"},
		{[]string{"revoke", "no-such-key"}, "not_found"},
		{[]string{"revoke", "../../orders"}, "not_found"},
	} {
		code, _, stderr := s.run(t, append([]string{"key"}, c.args...)...)
		wantExit(t, strings.Join(c.args, " "), code, exitFailed, stderr, c.says)
	}
}

func TestWhatIsNoDeskIsToldApart(t *testing.T) {
	var sent []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent = append(sent, r.Header.Get("Authorization")) }))
	defer elsewhere.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/html/"):
			_, _ = w.Write([]byte("<html>"))
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		default:
			http.Error(w, "no\nsuch page", http.StatusBadGateway)
		}
	}))
	defer other.Close()
	s := newShell(t)
	s.environ = append(s.environ, "HOLDFAST_API_KEY=some-key")
	for path, says := range map[string]string{
		"/html":  "that is not a Holdfast desk: its answer cannot be read",
		"/moved": "it answered 307",
		"/none":  "it answered 502",
	} {
		code, _, stderr := s.run(t, "key", "list", "--url", other.URL+path)
		wantExit(t, path, code, exitFailed, stderr, says)
	}
	if len(sent) > 0 {
		t.Errorf("the key went elsewhere: %q", sent)
	}
	other.Close()
	code, _, stderr := s.run(t, "key", "list", "--url", other.URL)
	wantExit(t, "nobody there", code, exitFailed, stderr, "no answer from "+other.URL)
}
