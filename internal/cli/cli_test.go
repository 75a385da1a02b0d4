package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/bench"
	"github.com/holdfast-oms/holdfast/internal/config"
)

func TestHelpTellsOfEveryCommand(t *testing.T) {
	s := newShell(t)
	help := s.must(t, "--help")
	for _, command := range []string{
		"serve", "migrate", "audit", "bench", "backup", "rebuild", "order", "product", "stock", "user", "session", "key", "numbers", "warm", "config", "version", "completion",
	} {
		if !strings.Contains(help, "\n  "+command+" ") {
			t.Errorf("the help does not list %s: %s", command, help)
		}
		one := s.must(t, command, "--help")
		if !strings.HasPrefix(one, "Usage: holdfast "+command) {
			t.Errorf("%s --help: got %s", command, one)
		}
		if other := s.must(t, "help", command); other != one {
			t.Errorf("help %s and %s --help differ", command, command)
		}
	}
	if code, stdout, stderr := s.run(t); code != exitUsage || stdout != "" || !strings.HasSuffix(stderr, "holdfast: a command is missing\n") {
		t.Errorf("without a command: got exit %d, %q and %q, want 2, nothing and the help", code, stdout, stderr)
	}
}

func TestServeHasAFlagForEachOfItsSettings(t *testing.T) {
	s := newShell(t)
	serve, all := s.must(t, "serve", "--help"), s.must(t, "config", "--help")
	for _, setting := range config.Settings() {
		flag := "--" + setting.Flag() + "="
		if !strings.Contains(all, flag) {
			t.Errorf("config has no flag %s", flag)
		}
		if setting.Section != config.Caller && !strings.Contains(serve, flag) {
			t.Errorf("serve has no flag %s", flag)
		}
	}
	help := s.must(t, "bench", "--help")
	for _, scenario := range bench.Scenarios() {
		if !strings.Contains(help, scenario.Name) {
			t.Errorf("the help of bench does not tell of %s", scenario.Name)
		}
	}
}

func TestMistakesAreOneLineAndExitTwo(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"bakup"}, `did you mean "backup"?`},
		{[]string{"serve", "--lisen", ":80"}, `did you mean "--listen"?`},
		{[]string{"serve", "extra"}, "unexpected argument extra"},
		{[]string{"serve", "--listen"}, "expected"},
		{[]string{"serve", "--pay-window", "soon"}, `pay_window (--pay-window): "soon" must be a duration`},
		{[]string{"serve", "--config", "nowhere.yaml"}, "nowhere.yaml: no such file"},
		{[]string{"key"}, `expected one of "create", "list", "revoke"`},
		{[]string{"key", "create", "ci"}, "missing flags: --scope"},
		{[]string{"key", "list"}, "set HOLDFAST_API_KEY"},
		{[]string{"key", "list", "--output", "xml"}, "must be one of"},
		{[]string{"bench"}, "a scenario is missing: flash-sale"},
		{[]string{"bench", "flash-sail"}, `there is no scenario "flash-sail"`},
		{[]string{"bench", "echo", "--connections=-1"}, "connections are"},
		{[]string{"bench", "read", "--url", "http://127.0.0.1:1"}, "needs an API key"},
		{[]string{"audit", "--database-url", "oracle://u:canary@db/x"}, "must be sqlite:PATH"},
	} {
		code, stdout, stderr := s.run(t, c.args...)
		wantExit(t, strings.Join(c.args, " "), code, exitUsage, stderr, c.says)
		if stdout != "" || strings.Contains(stderr, "canary") {
			t.Errorf("%v: got %q and %q", c.args, stdout, stderr)
		}
	}
}

func TestUnknownVariableIsAnErrorBeforeAnythingHappens(t *testing.T) {
	s := newShell(t)
	s.environ = append(s.environ, "HOLDFAST_PAYWINDOW=5m")
	code, _, stderr := s.run(t, "serve")
	wantExit(t, "serve", code, exitUsage, stderr, "HOLDFAST_PAYWINDOW (environment): there is no such setting; did you mean HOLDFAST_PAY_WINDOW?")
}

// squeezed makes one space of many: how wide a table's columns are depends on what else is in it.
func squeezed(table string) string { return regexp.MustCompile(` +`).ReplaceAllString(table, " ") }

func TestConfigShowsWhatIsInEffectAndWhereItCameFrom(t *testing.T) {
	s := newShell(t)
	s.environ = []string{"HOLDFAST_ADMIN_KEY=canary-" + strings.Repeat("x", 40), "HOLDFAST_BATCH_MAX=64"}
	got := squeezed(s.must(t, "config", "--pay-window", "7m"))
	for _, want := range []string{
		"SETTING VALUE", "listen 127.0.0.1:8080", "admin_key (hidden)", "HOLDFAST_ADMIN_KEY\n",
		"pay_window 7m", "--pay-window\n", "batch_max 64", "HOLDFAST_BATCH_MAX\n", "(the address it listens on)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q in it", got, want)
		}
	}
	if strings.Contains(got, "canary") {
		t.Errorf("a secret is shown: %s", got)
	}
	var list struct {
		Settings []settingJSON `json:"settings"`
	}
	if err := json.Unmarshal([]byte(s.must(t, "config", "--pay-window", "7m", "--output", "json")), &list); err != nil {
		t.Fatal(err)
	}
	by := map[string]settingJSON{}
	for _, setting := range list.Settings {
		by[setting.Name] = setting
	}
	if len(by) != len(config.Settings()) || *by["pay_window"].Value != "7m" || by["pay_window"].Source != config.FromFlag ||
		*by["batch_max"].Where != "HOLDFAST_BATCH_MAX" || by["api_key"].Value != nil || by["listen"].Where != nil {
		t.Errorf("got %+v", list)
	}
}

func TestConfigShowsEverythingThoughSomethingIsWrong(t *testing.T) {
	s := newShell(t)
	code, stdout, stderr := s.run(t, "config", "--pay-window", "soon", "--batch-max", "0")
	want := lines("holdfast: 2 settings are wrong:\n" +
		"  pay_window (--pay-window): \"soon\" must be a duration, such as 90s, 30m or 1h30m\n" +
		"  batch_max (--batch-max): must be 1 to 4096")
	if code != exitUsage || stderr != want || !strings.Contains(stdout, "number_block") {
		t.Errorf("got exit %d, %q and %q, want 2 and %q", code, stdout, stderr, want)
	}
}

func TestVersionComesFromTheBuild(t *testing.T) {
	s := newShell(t)
	if got := s.must(t, "version"); !strings.HasPrefix(got, "holdfast ") || got != s.must(t, "--version") {
		t.Errorf("got %q, and %q", got, s.must(t, "--version"))
	}
	var b build
	if err := json.Unmarshal([]byte(s.must(t, "version", "-o", "json")), &b); err != nil || b.Go == "" || b.Platform == "" {
		t.Errorf("got %+v, %v", b, err)
	}
	b = build{Version: "unknown", Go: "go1.26", Platform: "linux/amd64"}
	b.read(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "true"},
	}})
	if got, want := b.line(), "holdfast v1.2.3, commit 0123456789ab, go1.26 linux/amd64"; got != want || !b.Modified {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheFloorOfTheBenchIsServed(t *testing.T) {
	s := newShell(t)
	p, stdout, stderr := s.program("bench", "serve-echo", "--listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := p.Run(ctx); code != exitOK || !strings.HasPrefix(stdout.String(), "listening on http://127.0.0.1:") {
		t.Errorf("got exit %d, %q and %q", code, stdout, stderr)
	}
}
