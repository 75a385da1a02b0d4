package cli

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
)

// made reads what a command printed as JSON.
func made[T any](t *testing.T, printed string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(printed), &v); err != nil {
		t.Fatalf("%q: %v", printed, err)
	}
	return v
}

func wantText(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got\n%s\nwant %q in it", what, got, w)
		}
	}
}

// A newcomer's hour, as far as the command line goes: put on sale, order, pay, fulfil, cancel, look.
func TestAnOrderGoesItsWayFromTheCommandLine(t *testing.T) {
	s := newShell(t)
	s.serve(t)
	put := s.must(t, "product", "put", "sku-ticket", "--title", "Concert ticket", "--price", "9900", "--currency", "CNY", "--max-per-user", "4", "--pay-window", "10m")
	wantText(t, "product put", put, "Concert ticket", "CNY 99.00", "on sale       yes", "max per user  4", "10m")
	wantText(t, "stock adjust", s.must(t, "stock", "adjust", "sku-ticket", "--add", "100", "--ref", "PO-7"), "sku-ticket  100       100")
	code, _, stderr := s.run(t, "stock", "adjust", "sku-ticket", "--add", "100", "--ref", "PO-7")
	if code != exitOK || stderr != "PO-7 had been counted before: nothing was changed.\n" {
		t.Errorf("the delivery again: got exit %d and %q", code, stderr)
	}
	wantText(t, "user put", s.must(t, "user", "put", "u-7", "--name", "Li", "--email", "li@example.com", "--metadata", `{"vip":true}`), "Li", "li@example.com", `{"vip":true}`)

	o := made[api.Order](t, s.must(t, "order", "place", "sku-ticket=2", "--user", "u-7", "--idempotency-key", "cart-1", "-o", "json"))
	if o.Status != api.OrderPending || o.Total.Amount != 19800 {
		t.Errorf("got %+v, want it pending", o)
	}
	again, _, stderr := s.run(t, "order", "place", "sku-ticket=2", "--user", "u-7", "--idempotency-key", "cart-1")
	if again != exitOK || stderr != "This order had been placed with this key before.\n" {
		t.Errorf("the same key: got exit %d and %q", again, stderr)
	}
	wantText(t, "order get", s.must(t, "order", "get", o.OrderNo, "--with-user"), o.OrderNo, "pending, ", " left to pay", "  name", "Li", "2 × sku-ticket, Concert ticket, CNY 99.00 each", "CNY 198.00")
	wantText(t, "stock get", s.must(t, "stock", "get", "sku-ticket"), "sku-ticket  100       98         2     0")
	wantText(t, "payment opened", s.must(t, "order", "pay", o.OrderNo, "--open"), "pending", "/sandbox/pay/pay_")
	wantText(t, "declined", s.must(t, "order", "pay", o.OrderNo, "--decline"), "failed")
	wantText(t, "paid", s.must(t, "order", "pay", o.OrderNo), "succeeded", "sbx_pay_")
	wantText(t, "fulfilled", s.must(t, "order", "fulfil", o.OrderNo, "--reason", "handed over"), "fulfilled", "handed over")

	second := made[api.Order](t, s.must(t, "order", "place", "sku-ticket", "--user", "u-8", "-o", "json"))
	wantText(t, "cancelled", s.must(t, "order", "cancel", second.OrderNo, "--reason", "changed his mind"), "cancelled", "changed his mind")
	list := made[api.Page[api.Order]](t, s.must(t, "order", "list", "-o", "json"))
	if len(list.Data) != 2 || list.Data[0].OrderNo != second.OrderNo {
		t.Errorf("order list: got %+v, want both, newest first", list)
	}
	wantText(t, "order list", s.must(t, "order", "list", "--user", "u-7", "--status", "fulfilled", "--since", "1h"), "ORDER ", o.OrderNo, "CNY 198.00")
	code, stdout, stderr := s.run(t, "order", "list", "--limit", "1")
	if code != exitOK || strings.Count(stdout, "\n") != 2 || !strings.Contains(stderr, "more than 1") {
		t.Errorf("order list --limit 1: got exit %d, %q and %q", code, stdout, stderr)
	}
	wantText(t, "numbers", s.must(t, "numbers"), "GRANTED", "1000", second.OrderNo)
	days := made[api.Page[api.NumberDay]](t, s.must(t, "numbers", "-o", "json"))
	if len(days.Data) != 1 || days.Data[0].Used != 2 || *days.Data[0].Last != second.OrderNo {
		t.Errorf("numbers: got %+v, want 2 used, the last %s", days, second.OrderNo)
	}
	wantText(t, "product list", s.must(t, "product", "list"), "sku-ticket  Concert ticket  CNY 99.00  98")
	wantText(t, "product changed", s.must(t, "product", "put", "sku-ticket", "--no-active", "--max-per-user", "none"), "on sale     no")
	wantText(t, "user get", s.must(t, "user", "get", "u-7", "-o", "json"), `"name": "Li"`, `"phone": null`)
	wantText(t, "times", s.must(t, "order", "get", o.OrderNo, "-o", "json"), `"created_at": "`+o.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z")+`"`)
}

func TestRefusalsNameTheNextStep(t *testing.T) {
	s := newShell(t)
	s.serve(t, "--demo")
	place := func(args ...string) []string { return append([]string{"order", "place", "--user", "u-7"}, args...) }
	s.must(t, place("sku-poster")...)
	paid := made[api.Order](t, s.must(t, append(place("sku-ticket"), "-o", "json")...))
	s.must(t, "order", "pay", paid.OrderNo)
	for says, args := range map[string][]string{
		"out_of_stock: ":                place("sku-poster"),
		"stock adjust sku-poster --add": place("sku-poster"),
		"one user may have 4":           place("sku-ticket=4"),
		"lines[0].quantity":             place("sku-ticket=0"),
		"the order is paid":             {"order", "cancel", paid.OrderNo},
		"There is no such order":        {"order", "get", "202611200000042"},
		"There is no such product":      {"product", "get", "sku-nothing"},
		"title":                         {"product", "put", "sku-new", "--price", "1", "--currency", "CNY"},
	} {
		code, stdout, stderr := s.run(t, args...)
		wantExit(t, strings.Join(args, " "), code, exitFailed, stderr, says)
		if stdout != "" {
			t.Errorf("%v: printed %q", args, stdout)
		}
	}
	stranger := &shell{folder: s.folder, environ: append(slices.Clone(s.environ), "HOLDFAST_API_KEY=hf_canary")}
	code, _, stderr := stranger.run(t, "order", "list")
	wantExit(t, "a wrong key", code, exitFailed, stderr, "set HOLDFAST_API_KEY to a key of this desk")
	if strings.Contains(stderr, "canary") {
		t.Errorf("the key is shown: %q", stderr)
	}
}

func TestWhatCannotBeTriedIsExitTwo(t *testing.T) {
	s := newShell(t)
	s.environ = append(s.environ, "HOLDFAST_API_KEY=some-key", "HOLDFAST_URL=http://127.0.0.1:1")
	for says, args := range map[string][]string{
		"--add N, or --remove N":    {"stock", "adjust", "sku"},
		"must be a JSON object":     {"order", "place", "sku", "--user", "u", "--metadata", "[]"},
		"belong together":           {"product", "put", "sku", "--price", "1"},
		"--max-per-user must be":    {"product", "put", "sku", "--max-per-user", "some"},
		"--on-sale-from must be":    {"product", "put", "sku", "--on-sale-from", "soon"},
		"missing flags: --user":     {"order", "place", "sku"},
		"--limit must be":           {"order", "list", "--limit", "0"},
		"--days must be":            {"numbers", "--days", "0"},
		"must be one of":            {"completion", "tcsh"},
		"expected one of \"place\"": {"order"},
	} {
		code, _, stderr := s.run(t, args...)
		wantExit(t, strings.Join(args, " "), code, exitUsage, stderr, says)
	}
}

func TestSilenceSaysWhatIsKnownAndWhatToDo(t *testing.T) {
	s := newShell(t)
	s.environ = append(s.environ, "HOLDFAST_API_KEY=some-key")
	code, _, stderr := s.run(t, "order", "list", "--url", "http://127.0.0.1:1")
	wantExit(t, "nobody there", code, exitFailed, stderr, "no answer from http://127.0.0.1:1: dial")
	wantText(t, "nobody there", stderr, "holdfast serve", "HOLDFAST_URL")

	hangsUp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hangsUp.Close()
	go func() {
		for {
			c, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
	}()
	at := "http://" + hangsUp.Addr().String()
	code, _, stderr = s.run(t, "order", "cancel", "202611200000042", "--url", at)
	wantExit(t, "the answer is lost", code, exitFailed, stderr, "whether it was carried out is not known")
	code, _, stderr = s.run(t, "order", "place", "sku", "--user", "u", "--url", at, "--idempotency-key", "cart-1")
	wantExit(t, "the answer to an order is lost", code, exitFailed, stderr, "ask again with --idempotency-key cart-1")
}
