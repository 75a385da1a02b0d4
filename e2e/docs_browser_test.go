package e2e

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// reader is a real browser on the docs page, whose every request is written down.
type reader struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	asked    []string // addresses
	answered map[string]int64
	complain []string // what the console said: blocked by the policy, failed, thrown
}

func newReader(t *testing.T, width, height int64) *reader {
	t.Helper()
	r := &reader{t: t, ctx: browser(t), answered: map[string]int64{}}
	if err := chromedp.Listen(r.ctx, r.note); err != nil {
		t.Fatal(err)
	}
	r.do(chromedp.EmulateViewport(width, height))
	return r
}

func (r *reader) note(what any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := what.(type) {
	case *network.EventRequestWillBeSent:
		r.asked = append(r.asked, e.Request.URL)
	case *network.EventResponseReceived:
		r.answered[e.Response.URL] = e.Response.Status
	case *log.EventEntryAdded:
		r.complain = append(r.complain, string(e.Entry.Level)+": "+e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		said := string(e.Type) + ":"
		for _, arg := range e.Args {
			said += " " + string(arg.Value)
		}
		r.complain = append(r.complain, said)
	case *runtime.EventExceptionThrown:
		r.complain = append(r.complain, "thrown: "+e.ExceptionDetails.Text)
	}
}

type step = chromedp.Action[chromedp.Void]

func (r *reader) do(steps ...step) {
	r.t.Helper()
	ctx, done := context.WithTimeout(r.ctx, pageMax)
	defer done()
	if err := chromedp.Do(ctx, steps...); err != nil {
		r.t.Fatalf("in the browser: %v\nit complained: %q", err, r.complaints())
	}
}

// ask runs a piece of script in the page until it answers something true, and gives that.
func ask[T any](r *reader, script string) T {
	r.t.Helper()
	ctx, done := context.WithTimeout(r.ctx, pageMax)
	defer done()
	answer, err := chromedp.Run(ctx, chromedp.Poll[T](script, chromedp.WithPollingTimeout(pageMax)))
	if err != nil {
		r.t.Fatalf("%s: %v\nit complained: %q", script, err, r.complaints())
	}
	return answer
}

func (r *reader) complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.complain)
}

// strangers are the addresses asked for that are not below a place.
func (r *reader) strangers(home string) (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, asked := range r.asked {
		u, err := url.Parse(asked)
		if err != nil || u.Scheme != "data" && u.Scheme != "blob" && !strings.HasPrefix(asked, home+"/") {
			all = append(all, asked)
		}
	}
	return all
}

// picture keeps what the browser shows, for eyes, where the flag says.
func (r *reader) picture(name string) {
	r.t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(r.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o600); err != nil {
		r.t.Fatal(err)
	}
}
