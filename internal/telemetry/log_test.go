package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

func TestOnlyFieldsOnTheListAreLogged(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := Logger(&b, format, slog.LevelDebug)
		log.With("phone", "secret").WithGroup("user").Info("hello", "order_no", "7", "user_id", "secret", "status", 201, "err", errors.New("why"))
		log.LogAttrs(t.Context(), slog.LevelDebug, "hello", slog.Group("address", slog.String("err", "secret")),
			slog.Any("email", struct{ Name string }{"secret"}))
		got := b.String()
		if strings.Contains(got, "secret") || strings.Count(got, unlisted) != 4 {
			t.Errorf("%s: what is not on the list came through: %s", format, got)
		}
		for _, want := range []string{"order_no", "7", "201", "why"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in %s", format, want, got)
			}
		}
	}
}

func TestNoValueBreaksALine(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := Logger(&b, format, slog.LevelInfo)
		for _, nasty := range []string{"a\r\nb", "\x1b[31mred", "\u009b31m", "\u202eleft", "\x00", "\xff\xfe", "a\"b\\", "\u2028", strings.Repeat("x", 1<<20)} {
			b.Reset()
			log.Info("hello", "err", nasty, "stack", nasty)
			log.Info("hello", slog.Any("err", errors.New(nasty)))
			got := b.String()
			if strings.Count(got, "\n") != 2 || strings.ContainsAny(got, "\r\x1b\x00\u009b\u202e\u2028") || len(got) > 3*stackBytesMax {
				t.Errorf("%s: %.40q made %d bytes: %.200q", format, nasty, len(got), got)
			}
		}
	}
}

// An hour without the database is thousands of failed batches a second.
func TestAStormOfOneMessageDoesNotFillADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := Logger(&b, "json", slog.LevelDebug)
		for range 60 {
			for range 1000 {
				log.Error("batch failed", "commands", 1, "err", "gone")
			}
			log.Warn("something else")
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		}
		if n := strings.Count(b.String(), "batch failed"); n < 60 || n > linesAtOnce+60 {
			t.Errorf("60 000 errors in a minute made %d lines, want one a second after the first %d", n, linesAtOnce)
		}
		if n := strings.Count(b.String(), "something else"); n != 60 {
			t.Errorf("the storm took %d of 60 other lines along", 60-n)
		}
		var last struct {
			Suppressed int64 `json:"suppressed"`
		}
		for line := range strings.Lines(b.String()) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatal(err)
			}
			if last.Suppressed > 0 {
				break
			}
		}
		if last.Suppressed != 1000-linesAtOnce {
			t.Errorf("the first line after the gap says that %d were left out, want %d", last.Suppressed, 1000-linesAtOnce)
		}
		b.Reset()
		for range 1000 {
			log.Debug("request")
		}
		if n := strings.Count(b.String(), "\n"); n != 1000 {
			t.Errorf("%d of 1000 debug lines: whoever asks for them wants them all", n)
		}
		counts := CountsOf(log)
		if counts.Errors != 60_000 || counts.Warnings != 60 || counts.Suppressed < 59_000 {
			t.Errorf("counted %+v", counts)
		}
	})
}

// What goes wrong on one route must not hide what goes wrong on another.
func TestAStormOnOneRouteLeavesTheOthersTheirLines(t *testing.T) {
	var b bytes.Buffer
	log := Logger(&b, "json", slog.LevelInfo)
	for range 1000 {
		log.Error("panic", "route", "/v1/orders")
	}
	log.Error("panic", "route", "/v1/products")
	if n := strings.Count(b.String(), `"/v1/products"`); n != 1 {
		t.Errorf("%d lines of the other route, want the one there was", n)
	}
	if n := strings.Count(b.String(), `"/v1/orders"`); n < linesAtOnce || n > linesAtOnce+1 {
		t.Errorf("%d lines of the storm, want %d", n, linesAtOnce)
	}
}

func TestMadeUpMessagesShareOneAllowance(t *testing.T) {
	s := &storm{by: map[source]*allowance{}}
	admitted := 0
	for i := range 10_000 {
		if _, ok := s.admits(slog.LevelError, source{strconv.Itoa(i), strconv.Itoa(i)}, time.Unix(0, 0)); ok {
			admitted++
		}
	}
	if len(s.by) > sourcesKept+1 || admitted > sourcesKept+linesAtOnce {
		t.Errorf("%d messages are remembered and %d lines were written", len(s.by), admitted)
	}
}

func TestLinesOfATracedRequestNameTheTrace(t *testing.T) {
	var b bytes.Buffer
	log := Logger(&b, "json", slog.LevelInfo)
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab, 15: 1}, SpanID: trace.SpanID{1},
	}))
	log.InfoContext(ctx, "hello")
	if got := b.String(); !strings.Contains(got, `"trace_id":"ab000000000000000000000000000001"`) {
		t.Errorf("got %s", got)
	}
}

func TestConnectionLogNamesNoAddress(t *testing.T) {
	var b bytes.Buffer
	log := ConnectionLog(Logger(&b, "json", slog.LevelDebug))
	log.Print("http: TLS handshake error from 192.0.2.7:1234: EOF")
	log.Print("http: Accept error: accept tcp: too many open files; retrying in 5ms")
	got := b.String()
	if strings.Contains(got, "192.0.2.7") {
		t.Errorf("a client is named: %s", got)
	}
	if !strings.Contains(got, `"WARN"`) || !strings.Contains(got, "too many open files") {
		t.Errorf("nobody is told that no connection can be accepted: %s", got)
	}
}

// Profiles and whatever else stands outside the API's own guard: net/http saves the process, and only its log knows.
func TestAPanicThatOnlyNetHTTPSawIsInTheLog(t *testing.T) {
	for what, c := range map[string]struct {
		panics func()
		says   string
	}{
		"a mistake of the language": {func() { _ = []int{}[len(os.Args)] }, "index out of range"},
		"anything else":             {func() { panic("the buyer's\nphone\n\ngoroutine 1") }, ""},
	} {
		var b bytes.Buffer
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.panics() }))
		server.Config.ErrorLog = ConnectionLog(Logger(&b, "json", slog.LevelInfo))
		server.Start()
		if resp, err := server.Client().Get(server.URL); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: it was answered", what)
		}
		server.Close()
		var line struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Panic string `json:"panic"`
			Stack string `json:"stack"`
		}
		if err := json.Unmarshal(b.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v: %s", what, err, b.String())
		}
		if line.Level != "ERROR" || line.Msg != "panic" || !strings.Contains(line.Panic, c.says) || !strings.Contains(line.Stack, "TestAPanicThatOnlyNetHTTPSaw") {
			t.Errorf("%s: got %+v", what, line)
		}
		if strings.Contains(b.String(), "phone") || strings.Contains(b.String(), "127.0.0.1") {
			t.Errorf("%s: the log tells too much: %s", what, b.String())
		}
	}
}

// A field that is not on the list would come out empty: better to find that here than in the log of a bad night.
func TestEveryFieldInTheCodeIsOnTheList(t *testing.T) {
	var listed []string
	for _, f := range LogFields() {
		listed = append(listed, f.Name)
	}
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, name := range fieldsOf(call) {
				found[name] = true
				if !slices.Contains(listed, name) {
					t.Errorf("%s logs %q: put it on the list in internal/telemetry/log.go, if it is neither secret nor personal", path, name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range listed {
		if !found[f] && f != "trace_id" && f != "suppressed" && f != "product_id" {
			t.Errorf("%s is on the list and nobody logs it", f)
		}
	}
	if _, err := os.Stat("../server/server.go"); err != nil || len(found) < 10 {
		t.Errorf("only %d fields found: the test did not see the house", len(found))
	}
}

// fieldsOf gives the names of fields in a call that logs, or that makes an attribute.
func fieldsOf(call *ast.CallExpr) []string {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	on, _ := fun.X.(*ast.Ident)
	attribute := on != nil && on.Name == "slog" && slices.Contains([]string{"String", "Int", "Int64", "Duration", "Bool", "Any", "Time", "Float64"}, fun.Sel.Name)
	from := map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2}[fun.Sel.Name]
	if attribute {
		return texts(call.Args[:1])
	}
	if from == 0 || !strings.Contains(strings.ToLower(receiver(fun.X)), "log") {
		return nil
	}
	var names []string
	for i := from; i < len(call.Args); i += 2 {
		names = append(names, texts(call.Args[i:i+1])...)
	}
	return names
}

func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

func texts(args []ast.Expr) []string {
	var found []string
	for _, a := range args {
		if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			found = append(found, text)
		}
	}
	return found
}
