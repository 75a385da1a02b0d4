package config_test

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/holdfast-oms/holdfast/internal/config"
)

var update = flag.Bool("update", false, "write docs/settings.md again")

func write(t *testing.T, name, text string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func load(t *testing.T, from config.Sources) (config.Config, map[string]config.Value) {
	t.Helper()
	if from.Folder == "" {
		from.Folder = t.TempDir()
	}
	c, values, err := config.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]config.Value{}
	for _, v := range values {
		by[v.Setting.Name] = v
	}
	return c, by
}

func TestNothingSetIsTheDefault(t *testing.T) {
	c, values := load(t, config.Sources{})
	if want := config.Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("the default does not pass: %v", err)
	}
	want := config.Config{
		Listen: "127.0.0.1:8080", DatabaseURL: "sqlite:holdfast.db", Durability: "required", Providers: []string{"sandbox"},
		PayWindow: 30 * time.Minute, RemindBefore: 5 * time.Minute, Countdown: "auto", Gate: "auto", TimeZone: time.UTC, LogFormat: "auto", TraceRatio: 0.01,
		BatchMax: 512, OpenQueue: 8192, OpenWait: time.Second, SettleQueue: 8192, StreamsMax: 4000, NumberBlock: 1000, NumbersReady: 20_000, URL: "http://127.0.0.1:8080",
		EventRetention: 90 * 24 * time.Hour,
		ProxyHeader:    "x-forwarded-for", CoolDownWithin: time.Hour, CoolDown: 15 * time.Minute, SessionIdle: 30 * time.Minute, SessionMax: 24 * time.Hour,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for name, v := range values {
		if v.Source != config.FromDefault || v.Where != "" {
			t.Errorf("%s came from %s %s, want the default", name, v.Source, v.Where)
		}
	}
}

func TestFlagGoesBeforeEnvironmentBeforeFile(t *testing.T) {
	from := config.Sources{
		Folder: write(t, "holdfast.yaml", `
# a desk for a sale
pay_window: 11m
batch_max: 11
open_queue: 11 # and a remark
admin_listen: off
`),
		Environ: []string{"HOME=/", "HOLDFAST_PAY_WINDOW=12m", "HOLDFAST_BATCH_MAX=12", "HOLDFAST_SETTLE_QUEUE=", "HOLDFAST_CONFIG="},
		Flags:   map[string]string{"pay_window": "13m", "drain_delay": ""},
	}
	c, values := load(t, from)
	if c.PayWindow != 13*time.Minute || c.BatchMax != 12 || c.OpenQueue != 11 || c.SettleQueue != 8192 || c.AdminListen != "" {
		t.Errorf("got %+v", c)
	}
	for name, want := range map[string][3]string{
		"pay_window":   {"13m", "flag", "--pay-window"},
		"batch_max":    {"12", "environment", "HOLDFAST_BATCH_MAX"},
		"open_queue":   {"11", "file", "holdfast.yaml:5"},
		"settle_queue": {"8192", "default", ""},
		"drain_delay":  {"0s", "default", ""},
	} {
		v := values[name]
		if got := [3]string{v.Text, string(v.Source), v.Where}; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestFileIsFoundWhereItIsNamed(t *testing.T) {
	folder := write(t, "sale.yaml", "batch_max: 7\n")
	for story, from := range map[string]config.Sources{
		"by the flag":                     {File: filepath.Join(folder, "sale.yaml")},
		"beside the working folder":       {File: "sale.yaml", Folder: folder},
		"by the environment":              {Environ: []string{"HOLDFAST_CONFIG=" + filepath.Join(folder, "sale.yaml")}},
		"by the flag, not by environment": {File: filepath.Join(folder, "sale.yaml"), Environ: []string{"HOLDFAST_CONFIG=nowhere.yaml"}},
	} {
		if c, _ := load(t, from); c.BatchMax != 7 {
			t.Errorf("%s: got batch_max %d, want 7", story, c.BatchMax)
		}
	}
	_, _, err := config.Load(config.Sources{File: "nowhere.yaml", Folder: folder})
	wantError(t, err, "nowhere.yaml: no such file or directory")
}

func TestEveryFormOfFileIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "sandbox",
		"# nothing\n":                      "sandbox",
		"---\n":                            "sandbox",
		"providers:\n":                     "sandbox",
		"providers: sandbox\n":             "sandbox",
		"providers: [sandbox]\n":           "sandbox",
		"providers:\n  - sandbox\n":        "sandbox",
		"providers: off\n":                 "",
		"{\"providers\": \"sandbox\"}\r\n": "sandbox",
	} {
		c, _ := load(t, config.Sources{Folder: write(t, "holdfast.yaml", text)})
		if got := strings.Join(c.Providers, ","); got != want {
			t.Errorf("%q: got providers %q, want %q", text, got, want)
		}
	}
}

func TestRulesMayBeAListInTheFile(t *testing.T) {
	c, _ := load(t, config.Sources{Folder: write(t, "holdfast.yaml", "limits:\n  - POST /v1/orders user 5/10s burst 10\n  - '* key 1000/s'\ntrusted_proxies: [10.0.0.0/8, 'fd00::/8']\n")})
	if len(c.Limits) != 2 || c.Limits[0].String() != "POST /v1/orders user 5/10s burst 10" || c.Limits[1].String() != "* key 1000/s" {
		t.Errorf("got the rules %v", c.Limits)
	}
	if len(c.TrustedProxies) != 2 || c.TrustedProxies[1].String() != "fd00::/8" {
		t.Errorf("got the proxies %v", c.TrustedProxies)
	}
}

func TestEverythingWrongIsNamedAtOnceWithItsPlace(t *testing.T) {
	_, _, err := config.Load(config.Sources{
		Folder: write(t, "holdfast.yaml", `pay_windw: 3m
listen: nowhere
batch_max: 0
batch_max: 5
log_format: [text]
admin_key: short
`),
		Environ: []string{"HOLDFAST_LISTN=:80", "HOLDFAST_REMIND_BEFORE=a while", "HOLDFAST_SANDBOX_SECRET=tiny"},
		Flags:   map[string]string{"time_zone": "Mars/Olympus", "public_url": "shop.example"},
	})
	const want = `11 settings are wrong:
  pay_windw (holdfast.yaml:1): there is no such setting; did you mean pay_window?
  batch_max (holdfast.yaml:4): is set twice
  log_format (holdfast.yaml:5): must be a plain value
  HOLDFAST_LISTN (environment): there is no such setting; did you mean HOLDFAST_LISTEN?
  remind_before (HOLDFAST_REMIND_BEFORE): "a while" must be a duration, such as 90s, 30m or 1h30m
  time_zone (--time-zone): "Mars/Olympus" must be the IANA name of a time zone, such as UTC or Asia/Shanghai
  listen (holdfast.yaml:2): must be host:port, such as 127.0.0.1:8080 or :8080
  admin_key (holdfast.yaml:6): must be 32 to 200 characters long
  sandbox_secret (HOLDFAST_SANDBOX_SECRET): must be 16 to 200 characters long
  public_url (--public-url): must be a whole address, such as https://shop.example
  batch_max (holdfast.yaml:3): must be 1 to 4096`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestEachSettingRefusesNonsense(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"listen", "8080", "must be host:port"},
		{"listen", "127.0.0.1:http", "must have a port"},
		{"listen", ":65536", "must have a port"},
		{"listen", "off", "must be host:port"},
		{"admin_listen", "127.0.0.1:8080", "is the address of listen"},
		{"database_url", "oracle://u:secret@db/holdfast", "must be sqlite:PATH, postgres://… or mysql://…"},
		{"database_url", "postgres:holdfast", "must be sqlite:PATH, postgres://… or mysql://…"},
		{"database_url", "postgres://u:sec ret%zz@db/holdfast", "what is special in a password is written with %"},
		{"durability", "off", "must be one of required, degraded"},
		{"database_url", "sqlite:", "must be sqlite:PATH"},
		{"redis_url", "http://cache:6379", "must be redis://"},
		{"redis_url", "redis://desk:secret@", "names no host"},
		{"redis_url", "redis://desk:sec%ret@cache", "must be redis://"},
		{"admin_key", strings.Repeat("x", 31), "must be 32 to 200 characters long"},
		{"admin_key", strings.Repeat("x", 201), "must be 32 to 200 characters long"},
		{"admin_key", strings.Repeat("x", 31) + " ", "visible ASCII"},
		{"sandbox_secret", strings.Repeat("é", 16), "visible ASCII"},
		{"cors_origins", "shop.example", "must be origins such as https://shop.example"},
		{"cors_origins", "https://shop.example/", "must be origins"},
		{"cors_origins", "https://shop.example/a", "must be origins"},
		{"cors_origins", "https://Shop.example", "must be origins"},
		{"cors_origins", "https://*.shop.example", "must be origins"},
		{"cors_origins", "null", "must be origins"},
		{"cors_origins", "https://shop.example:443", "without its port"},
		{"cors_origins", "https://a.example, https://a.example", "names https://a.example twice"},
		{"cors_origins", "*, https://a.example", "is * or a list, not both"},
		{"streams_max", "0", "must be 1 to 1000000"},
		{"providers", "sandbax", `there is no provider "sandbax"; did you mean sandbox?`},
		{"providers", "sandbox,sandbox", "names sandbox twice"},
		{"providers", "sandbox,", "there is no provider"},
		{"public_url", "ftp://shop.example", "must be a whole address"},
		{"public_url", "https://user:word@shop.example", "without user, query or fragment"},
		{"public_url", "https://shop.example/?a=b", "without user, query or fragment"},
		{"drain_delay", "-1s", "must be 0s to 10m"},
		{"pay_window", "30", "must be a duration"},
		{"event_retention", "72h", "must be 168h to 175680h, or 0s for ever"},
		{"event_retention", "-1s", "must be 168h to 175680h, or 0s for ever"},
		{"pay_window", "999ms", "must be 1s to 720h"},
		{"pay_window", "721h", "must be 1s to 720h"},
		{"remind_before", "-5m", "must be 0s to 720h"},
		{"countdown", "rediss", "must be one of auto, sql, redis, keyspace"},
		{"countdown", "keyspace", "needs redis_url"},
		{"gate", "redis", "must be one of auto, inproc, off"},
		{"time_zone", "Local", "IANA name"},
		{"log_format", "xml", "must be one of auto, text, json"},
		{"log_level", "loud", "must be debug, info, warn or error"},
		{"otlp_endpoint", "127.0.0.1:4318", "must be a whole address"},
		{"trace_ratio", "1 %", "must be a number"},
		{"trace_ratio", "1.5", "must be 0 to 1"},
		{"trace_ratio", "NaN", "must be 0 to 1"},
		{"batch_max", "many", "must be a whole number"},
		{"open_queue", "1000001", "must be 1 to 1000000"},
		{"settle_queue", "-1", "must be 1 to 1000000"},
		{"number_block", "0", "must be 1 to 1000000"},
		{"url", "127.0.0.1:8080", "must be a whole address"},
		{"api_key", "a key", "visible ASCII"},
		{"limits", "* key", `"* key" must be a route, a subject and a rate`},
		{"limits", "* ip 5/s", "must count by address, key or user"},
		{"limits", "* key 1/s;", "has nothing between two semicolons"},
		{"trusted_proxies", "10.0.0.1", "must be networks such as 10.0.0.0/8"},
		{"trusted_proxies", "10.0.0.0/8,", "must be networks such as 10.0.0.0/8"},
		{"trusted_proxies", "10.0.0.1/8", "10.0.0.1/8 must be the network itself, 10.0.0.0/8"},
		{"trusted_proxies", "::ffff:10.0.0.0/104", "must be written as IPv4"},
		{"trusted_proxies", "0.0.0.0/0", "is everybody"},
		{"trusted_proxies", "10.0.0.0/8,10.0.0.0/8", "names 10.0.0.0/8 twice"},
		{"proxy_header", "x-real-ip", "must be one of x-forwarded-for, forwarded"},
		{"unpaid_orders_max", "21", "must be 0 to 20"},
		{"cool_down_after", "-1", "must be 0 to 20"},
		{"cool_down", "0s", "must be 1s to 168h"},
		{"repeat_guard", "2m", "must be 0s to 1m"},
		{"session_idle", "30s", "must be 1m to 8784h"},
		// Whatever the form: what no setting may be.
		{"listen", "127.0.0.1\x00:8080", "must be printable characters only"},
		{"database_url", "sqlite:a\x00b", "must be printable characters only"},
		{"database_url", "sqlite:a\nb", "must be printable characters only"},
		{"admin_key", strings.Repeat("x", 3000), "is longer than 2048 bytes"},
		{"database_url", "sqlite:" + strings.Repeat("x", 3000), "is longer than 2048 bytes"},
		{"public_url", "https://shop.example/" + strings.Repeat("x", 3000), "is longer than 2048 bytes"},
		{"time_zone", strings.Repeat("x", 3000), "is longer than 2048 bytes"},
		{"pay_window", "9999999999999999999999h", "must be a duration"},
		{"batch_max", "99999999999999999999", "must be a whole number"},
		{"batch_max", "1e3", "must be a whole number"},
		{"batch_max", "0x10", "must be a whole number"},
	} {
		_, _, err := config.Load(config.Sources{Folder: t.TempDir(), Flags: map[string]string{c.name: c.text}})
		wantError(t, err, c.want)
		if err != nil && (strings.Contains(err.Error(), "secret@") || c.name == "admin_key" && strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: the error shows the secret: %v", c.name, err)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"listen: [":                      "holdfast.yaml: line 1:",
		"- listen\n":                     "holdfast.yaml: must be lines of name: value",
		"listen\n":                       "holdfast.yaml: must be lines of name: value",
		"a: 1\n---\nb: 2\n":              "holdfast.yaml: must be one document",
		"pay_window: {a: b}\n":           "pay_window (holdfast.yaml:1): must be a plain value",
		"providers: [[sandbox]]\n":       "providers (holdfast.yaml:1): must be a plain value",
		"a: &x 1\nlisten: *x\n":          "listen (holdfast.yaml:2): must be a plain value",
		"pay-window: 5m\n":               "did you mean pay_window?",
		"frobnicate: 5m\n":               "frobnicate (holdfast.yaml:1): there is no such setting",
		strings.Repeat("# long\n", 1e4):  "is larger than 65536 bytes",
		"desk:\n  listen: :80\n":         "desk (holdfast.yaml:1): there is no such setting",
		"listen: \"a\\0:80\"\n":          "listen (holdfast.yaml:1): ",
		"listen: \x00\n":                 "holdfast.yaml: ",
		"\"\\e[31m\": 1\n":               `"\x1b[31m" (holdfast.yaml:1): there is no such setting`,
		strings.Repeat("x", 900) + ": 1": strings.Repeat("x", 64) + "… (holdfast.yaml:1): there is no such setting",
		"? [listen]\n: 1\n":              "the name of a setting must be one word",
		"<<: {listen: \":80\"}\n":        "<< (holdfast.yaml:1): there is no such setting",
		"a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nproviders: [*c,*c,*c,*c,*c]\n": "providers (holdfast.yaml:4): must be a plain value",
		"listen: " + strings.Repeat("[", 3000) + "\n":                                                                  "holdfast.yaml: ",
	} {
		_, _, err := config.Load(config.Sources{Folder: write(t, "holdfast.yaml", text)})
		wantError(t, err, want)
	}
}

func TestFilesThatCannotBeReadAreNamed(t *testing.T) {
	folder := t.TempDir()
	_, _, err := config.Load(config.Sources{File: folder})
	wantError(t, err, folder+": is a directory")

	shut := filepath.Join(write(t, "shut.yaml", "listen: :80\n"), "shut.yaml")
	if err := os.Chmod(shut, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(shut); err == nil {
		t.Skip("NOT TESTED: root may read every file")
	}
	_, _, err = config.Load(config.Sources{File: shut})
	wantError(t, err, shut+": permission denied")
}

func TestUnknownSettingsAreErrorsWhereverTheyStand(t *testing.T) {
	_, _, err := config.Load(config.Sources{Folder: write(t, "holdfast.yaml", "remind_befor: 5m\n")})
	wantError(t, err, "remind_befor (holdfast.yaml:1): there is no such setting; did you mean remind_before?")
	_, _, err = config.Load(config.Sources{Folder: t.TempDir(), Environ: []string{"HOLDFAST_REMIND_BEFOR=5m"}})
	wantError(t, err, "HOLDFAST_REMIND_BEFOR (environment): there is no such setting; did you mean HOLDFAST_REMIND_BEFORE?")
	_, _, err = config.Load(config.Sources{Folder: t.TempDir(), Environ: []string{"HOLDFAST_\x1b[31m=5m"}})
	wantError(t, err, `"HOLDFAST_\x1b[31m" (environment): there is no such setting`)
	// Those of commands that call a desk are known to all.
	if _, _, err = config.Load(config.Sources{Folder: t.TempDir(), Environ: []string{"HOLDFAST_URL=http://127.0.0.1:1", "HOLDFAST_API_KEY=k"}}); err != nil {
		t.Error(err)
	}
}

func TestOthersVariablesAreLeftAlone(t *testing.T) {
	_, _, err := config.Load(config.Sources{Folder: t.TempDir(), Environ: []string{
		"HOLDFAST_FAILPOINTS=commit=exit@3", "HOLDFASTER=1",
		// What Kubernetes tells of services called holdfast and holdfast-api.
		"HOLDFAST_SERVICE_HOST=10.0.0.1", "HOLDFAST_SERVICE_PORT=8080", "HOLDFAST_SERVICE_PORT_HTTP=8080", "HOLDFAST_PORT=tcp://10.0.0.1:8080",
		"HOLDFAST_PORT_8080_TCP=tcp://10.0.0.1:8080", "HOLDFAST_PORT_8080_TCP_PROTO=tcp", "HOLDFAST_PORT_8080_TCP_ADDR=10.0.0.1",
		"HOLDFAST_API_SERVICE_HOST=10.0.0.1", "HOLDFAST_API_PORT=tcp://10.0.0.1:8080",
	}})
	if err != nil {
		t.Error(err)
	}
	_, _, err = config.Load(config.Sources{Folder: t.TempDir(), Environ: []string{"HOLDFAST_PORT=9090"}})
	wantError(t, err, "HOLDFAST_PORT (environment): there is no such setting")
}

func TestSecretsAreNeverShown(t *testing.T) {
	var environ []string
	flags := map[string]string{
		"database_url": "postgres://desk:canary-in-the-url@db/holdfast?sslpassword=canary-too&sslmode=require",
		"redis_url":    "redis://desk:canary-in-the-url@cache",
	}
	for _, s := range config.Settings() {
		if s.Secret {
			environ = append(environ, s.Env()+"=canary-"+strings.Repeat("x", 40))
		}
	}
	if len(environ) != 3 {
		t.Fatalf("got %d secrets, want 3", len(environ))
	}
	_, values, err := config.Load(config.Sources{Folder: t.TempDir(), Environ: environ, Flags: flags})
	if err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"oracle://desk:canary-in-the-url@db/holdfast", "postgres://desk:canary-in-%zz@db/holdfast"} {
		_, _, err := config.Load(config.Sources{Folder: t.TempDir(), Flags: map[string]string{"database_url": wrong}})
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
	for _, v := range values {
		if strings.Contains(v.Text, "canary") {
			t.Errorf("%s shows %q", v.Setting.Name, v.Text)
		}
		if v.Setting.Secret && v.Text != "(hidden)" {
			t.Errorf("%s shows %q, want that it is hidden", v.Setting.Name, v.Text)
		}
	}
}

func TestPublicAddressIsWhereTheDeskListens(t *testing.T) {
	for _, c := range []struct{ set, listening, want string }{
		{"", "127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"", "0.0.0.0:8080", "http://127.0.0.1:8080"},
		{"", "[::]:8080", "http://127.0.0.1:8080"},
		{"", "[::1]:8080", "http://[::1]:8080"},
		{"https://shop.example/desk/", "127.0.0.1:8080", "https://shop.example/desk"},
	} {
		cfg, _ := load(t, config.Sources{Flags: map[string]string{"public_url": c.set}})
		address, err := net.ResolveTCPAddr("tcp", c.listening)
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.PublicAt(address); got != c.want {
			t.Errorf("public_url %q listening on %s: got %s, want %s", c.set, c.listening, got, c.want)
		}
	}
}

// A setting is only as good as its row.
func TestEveryRowIsWhole(t *testing.T) {
	var names []string
	for _, s := range config.Settings() {
		switch {
		case s.Name == "" || s.Help == "" || s.Form == "":
			t.Errorf("%+v lacks a name, a form or a help text", s)
		case s.Default == "" && s.Unset == "":
			t.Errorf("%s does not say what happens when it is not set", s.Name)
		case !slices.Contains(config.Sections(), s.Section):
			t.Errorf("%s stands in no section", s.Name)
		case slices.Contains(names, s.Name):
			t.Errorf("%s stands there twice", s.Name)
		case strings.Contains(s.Help, "|"):
			t.Errorf("the help of %s breaks the table", s.Name)
		}
		names = append(names, s.Name)
	}
	if fields := reflect.TypeFor[config.Config]().NumField(); fields != len(names) {
		t.Errorf("there are %d settings and %d fields in Config", len(names), fields)
	}
}

func TestSettingsAreDocumented(t *testing.T) {
	const path = "../../docs/settings.md"
	if *update {
		if err := os.WriteFile(path, []byte(config.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != config.Markdown() {
		t.Errorf("%s is stale: run make generate", path)
	}
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"listen: :8080\npay_window: 5m\n", "providers: [sandbox]\n", "a: &a [*a]\n", "? {a: b}\n: c\n", "listen: !!binary aGk=\n",
		"admin_key: canary-canary-canary-canary-canary\n", "{\"batch_max\": 1e3}", "listen: |\n  a\n  b\n", "\xff\xfe", "---\n...\n---\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, values, err := config.Load(config.Sources{Folder: write(t, "holdfast.yaml", text)})
		if err == nil && c.Validate() != nil {
			t.Errorf("%q was taken as %+v", text, c)
		}
		if len(values) != len(config.Settings()) {
			t.Errorf("%q: got %d values", text, len(values))
		}
		if err == nil {
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if len(line) > 4096 || strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q: the error is not fit for a terminal: %q", text, line)
			}
		}
	})
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that says %q", err, want)
	}
}
