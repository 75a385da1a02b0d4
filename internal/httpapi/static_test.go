package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/httpapi/docs"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

func TestWhatStaysTheSameIsSentOnce(t *testing.T) {
	d := newDesk(t)
	for _, target := range []string{"/openapi.json", "/docs", "/docs/elements.js", "/docs/elements.css", "/docs/page.js"} {
		first := d.get(target, "")
		tag := first.header.Get("ETag")
		if first.status != http.StatusOK || tag == "" || len(first.body) == 0 {
			t.Fatalf("%s: got %d with tag %q and %d bytes, want 200 with both", target, first.status, tag, len(first.body))
		}
		for sent, want := range map[string]int{
			tag: 304, "*": 304, `"other", ` + tag: 304, strings.TrimPrefix(tag, "W/"): 304, `"other"`: 200, "": 200,
		} {
			again := d.send("GET", target, "", "", "If-None-Match", sent)
			if again.status != want || again.header.Get("ETag") != tag || want == 304 && len(again.body) > 0 {
				t.Errorf("%s with If-None-Match %s: got %d, tag %q and %d bytes, want %d", target, sent, again.status, again.header.Get("ETag"), len(again.body), want)
			}
		}
	}
}

// A cache that knows one of the two alone gives one page's answer to another's.
func TestFilesVaryByOriginAndByCoding(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) {
		o.Origins = []string{"https://shop.example", "https://other.example"}
	})
	for _, target := range []string{"/openapi.json", "/docs/elements.js"} {
		vary := strings.Join(d.send("GET", target, "", "", "Origin", "https://shop.example").header.Values("Vary"), ", ")
		if !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%s varies by %q, want Origin and Accept-Encoding", target, vary)
		}
	}
}

func TestLargeFilesAreCompressedForThoseWhoTakeIt(t *testing.T) {
	d := newDesk(t)
	for target, known := range map[string][]byte{"/openapi.json": api.Document, "/docs/elements.js": nil} {
		plain := d.get(target, "")
		if plain.header.Get("Content-Encoding") != "" || plain.header.Get("Vary") != "Accept-Encoding" || known != nil && !bytes.Equal(plain.body, known) {
			t.Errorf("%s: got %d bytes with header %v", target, len(plain.body), plain.header)
		}
		for _, takes := range []string{"gzip", "br, GZIP;q=0.5", "deflate, gzip; q=1"} {
			zipped := d.send("GET", target, "", "", "Accept-Encoding", takes)
			if zipped.header.Get("Content-Encoding") != "gzip" || 2*len(zipped.body) > len(plain.body) {
				t.Errorf("%s for %q: got %d of %d bytes, coded %q", target, takes, len(zipped.body), len(plain.body), zipped.header.Get("Content-Encoding"))
				continue
			}
			z, err := gzip.NewReader(bytes.NewReader(zipped.body))
			d.must(err)
			if whole, err := io.ReadAll(z); err != nil || !bytes.Equal(whole, plain.body) {
				t.Errorf("%s for %q: what comes out is another: %v", target, takes, err)
			}
		}
		for _, takes := range []string{"", "identity", "gzip;q=0", "gzip;q=0.0", "x-gzip-like"} {
			if a := d.send("GET", target, "", "", "Accept-Encoding", takes); a.header.Get("Content-Encoding") != "" || !bytes.Equal(a.body, plain.body) {
				t.Errorf("%s for %q: got it coded %q", target, takes, a.header.Get("Content-Encoding"))
			}
		}
	}
}

// The page is what its policy and its files make of it: nothing of it stands inline, and nothing of it is elsewhere.
func TestDocsPageLoadsItsOwnFilesOnly(t *testing.T) {
	d := newDesk(t)
	page := d.get("/docs", "")
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is %q, want %q in it", policy, want)
		}
	}
	if kind := page.header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		t.Errorf("the page is %q", kind)
	}
	for _, place := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(string(page.body), -1) {
		if place[1] == "data:," {
			continue
		}
		if a := d.get("/"+place[1], ""); a.status != http.StatusOK {
			t.Errorf("the page names %s: got %d, want 200", place[1], a.status)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]|<style|\son[a-z]+=|style=`).Match(page.body) {
		t.Errorf("something stands inline: %s", page.body)
	}
	for _, f := range docs.Files() {
		if f.Name == "" {
			continue
		}
		if a := d.get("/docs/"+f.Name, ""); a.status != http.StatusOK || a.header.Get("Content-Type") != f.Type {
			t.Errorf("%s: got %d of type %q, want 200 of type %q", f.Name, a.status, a.header.Get("Content-Type"), f.Type)
		}
	}
	d.wants(d.get("/docs/page.html", ""), http.StatusNotFound, "not_found")
	d.wants(d.get("/docs/nothing.js", ""), http.StatusNotFound, "not_found")
}

func TestDocumentNamesWhereTheDeskIs(t *testing.T) {
	for public, want := range map[string]string{
		"":                          documented,
		"https://shop.example/desk": "https://shop.example/desk",
		"http://[::1]:8080":         "http://[::1]:8080",
		// What could not be pasted into a shell as it is.
		"https://shop.example/$(id)": documented,
		`https://shop.example/"`:     documented,
		"https://shop.example/`id`":  documented,
	} {
		d := newDesk(t, func(o *Options, _ *ledger.Options) { o.PublicURL = public })
		body := string(d.get("/openapi.json", "").body)
		if !strings.Contains(body, `"url": "`+want+`"`) || !strings.Contains(body, `curl -sS \"`+want+`/v1/orders\"`) {
			t.Errorf("public address %q: the document does not name %s", public, want)
		}
	}
}
