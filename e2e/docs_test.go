package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// shown is the part of the served document that tells people what to type.
type shown struct {
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths map[string]map[string]struct {
		OperationID string                     `json:"operationId"`
		Responses   map[string]json.RawMessage `json:"responses"`
		Samples     []struct {
			Lang   string `json:"lang"`
			Source string `json:"source"`
		} `json:"x-codeSamples"`
	} `json:"paths"`
}

func document(t *testing.T, d *desk) (doc shown) {
	t.Helper()
	d.want(http.StatusOK, &doc, "GET", "/openapi.json", nil)
	return doc
}

// Every example of the document is pasted into a shell as it is served, twice: its answer is one that the document promises,
// and whatever it needs first works too.
func TestExamplesOfTheDocumentWorkAsServed(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "curl", "openssl", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: %v", err)
		}
	}
	db := database(t)
	s := serve(t, db, "--demo")
	doc := document(t, s.desk)
	if len(doc.Servers) != 1 || doc.Servers[0].URL != s.url {
		t.Fatalf("the document says the desk is at %+v, want %s", doc.Servers, s.url)
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("write-out = \"%{stderr}%{http_code}\\n\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for path, methods := range doc.Paths {
		for method, operation := range methods {
			if len(operation.Samples) != 1 || operation.Samples[0].Lang != "shell" {
				t.Errorf("%s %s has no example", method, path)
				continue
			}
			ran++
			for range 2 {
				statuses, out := paste(t, home, operation.Samples[0].Source)
				last := statuses[len(statuses)-1]
				if _, promised := operation.Responses[last]; !promised || last[0] != '2' ||
					slices.ContainsFunc(statuses, func(status string) bool { return status[0] != '2' }) {
					t.Errorf("%s: got %v, want what the document promises\n%s\n%s", operation.OperationID, statuses, operation.Samples[0].Source, out)
				}
			}
		}
	}
	if ran < 25 {
		t.Errorf("ran %d examples: the document is not whole", ran)
	}
	auditClean(t, db)
}

// paste runs lines in a shell and gives the status of every curl in them.
func paste(t *testing.T, home, lines string) (statuses []string, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", lines)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "CURL_HOME=" + home,
		"HOLDFAST_API_KEY=" + adminKey, "HOLDFAST_SANDBOX_SECRET=" + sandboxSecret,
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, lines, stderr.String())
	}
	statuses = strings.Fields(stderr.String())
	if len(statuses) == 0 {
		t.Fatalf("nothing was asked for:\n%s", lines)
	}
	return statuses, stdout.String()
}

func TestTheDocumentNamesThePublicAddress(t *testing.T) {
	s := serve(t, database(t), "--public-url", "https://shop.example/desk")
	body := string(s.ask("GET", "/openapi.json", nil).body)
	if strings.Contains(body, "127.0.0.1") || !strings.Contains(body, `"https://shop.example/desk"`) ||
		!strings.Contains(body, `curl -sS \"https://shop.example/desk/v1/orders\"`) {
		t.Error("the document does not have the public address in its servers and examples, or has another beside it")
	}
}

// The page in a real browser: it is drawn, what is tried on it reaches the desk, and the browser is sent nowhere else.
func TestTheDocsPageInABrowser(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t), "--demo")
	r := newReader(t, 1280, 900)
	r.do(chromedp.Navigate(s.url+"/docs"), chromedp.WaitVisible(chromedp.CSS("elements-api h1")))
	r.picture("desktop-overview")

	r.do(chromedp.Navigate(s.url + "/docs#/operations/placeOrder"))
	r.typeKey()
	r.picture("desktop-place")
	r.do(chromedp.Click(chromedp.CSS(sendButton)))
	testenv.Until(t, pageMax, "the order that was tried", func() bool { return len(s.orders()) == 1 })
	ask[bool](r, `document.body.innerText.includes("201 Created")`)
	r.picture("desktop-placed")

	r.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch), chromedp.Navigate(s.url+"/docs#/operations/getProduct"))
	ask[bool](r, `document.querySelector("h1")?.innerText.includes("Look at a product")`)
	if wide := ask[int](r, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("on a phone the page is %d wide, want no more than 390", wide)
	}
	r.picture("phone")
	r.wantsNothingElse(s.url)

	r.do(chromedp.Navigate(s.url + "/healthz"))
	if left := ask[string](r, `"kept: " + JSON.stringify(localStorage)`); strings.Contains(left, adminKey) {
		t.Errorf("the key that was typed in is still in the browser: %s", left)
	}
}

// A desk below a path of a shop's own host, behind a proxy that takes the path away.
func TestTheDocsPageBelowAPath(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t), "--demo", "--public-url", "https://shop.example/desk")
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.StripPrefix("/desk", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}))
	t.Cleanup(proxy.Close)
	shop := proxy.URL
	r := newReader(t, 1280, 900)
	r.do(chromedp.Navigate(shop + "/desk/docs#/operations/getProduct"))
	r.typeKey()
	r.do(chromedp.Click(chromedp.CSS(sendButton)))
	ask[bool](r, `document.body.innerText.includes("Concert ticket, front row")`)
	r.do(chromedp.ScrollIntoView(chromedp.CSS(".TryItPanel + div")))
	r.picture("desktop-tried")
	r.wantsNothingElse(shop + "/desk")
}

const sendButton = `.TryItPanel button.sl-button.sl-bg-primary`

// typeKey gives the page the admin key.
func (r *reader) typeKey() {
	r.t.Helper()
	token := chromedp.CSS(`input[aria-label="Token"]`)
	r.do(chromedp.WaitVisible(token), chromedp.SendKeys(token, adminKey))
}

// wantsNothingElse fails when the browser was sent to another place, or complained about anything.
func (r *reader) wantsNothingElse(home string) {
	r.t.Helper()
	if strangers := r.strangers(home); len(strangers) > 0 {
		r.t.Errorf("the page asks elsewhere: %q", strangers)
	}
	for _, said := range r.complaints() {
		if !strings.Contains(said, "React Router Future Flag Warning") { // of the library to its makers
			r.t.Errorf("the browser complained: %s", said)
		}
	}
}
