package e2e

import (
	"context"
	"flag"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

var shots = flag.String("browser.shots", "", "a folder to put pictures of the pages into")

const pageMax = 30 * time.Second // for a page to show what it has to: the browser is the slowest of all

// browser starts Chromium with an empty profile. Without it the pages are not tested, and that is a failure.
func browser(t *testing.T) context.Context {
	t.Helper()
	var program string
	// The last one is a script on Ubuntu that asks for a snap.
	for _, name := range []string{"chromium", "google-chrome", "google-chrome-stable", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("the pages are tested in a real browser, and there is none: install Chromium (Debian: apt-get install chromium); " +
			"make test does so by itself where it may")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(pageMax),
	)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	tab, leave := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(tab) // waits for its end, so that the folder can be removed
		leave()
	})
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return tab
}

// script runs a script in the page.
func script[T any](ctx context.Context, t *testing.T, source string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pageMax)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](source))
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return value
}

func visit(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pageMax)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatalf("open %s: %v", address, err)
	}
}

// sees waits until a script in the page gives true.
func sees(ctx context.Context, t *testing.T, what, source string) {
	t.Helper()
	testenv.Until(t, pageMax, what, func() bool { return script[bool](ctx, t, source) })
}
