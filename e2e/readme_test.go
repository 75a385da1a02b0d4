package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
)

// What the README tells people to type does what it says, letter by letter but for the port; the browser's part is one more
// curl.
func TestTheTourOfTheREADMEWorksAsPrinted(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: %v", err)
		}
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(text), "## The tour")
	_, tour, _ = strings.Cut(tour, "```sh\n")
	tour, _, found := strings.Cut(tour, "```")
	if !found || strings.Count(tour, "http://127.0.0.1:8080") != 1 {
		t.Fatalf("the README's tour is not where it was: %q", tour)
	}
	at(t, tours, func(t *testing.T, w where) {
		db := w.database(t)
		s := w.serve(t, w.usual(), db, "--demo")

		var script strings.Builder
		script.WriteString("set -e\n")
		for line := range strings.Lines(strings.Replace(tour, "http://127.0.0.1:8080", s.url, 1)) {
			if strings.Contains(line, "/events") {
				script.WriteString("sleep 1\n") // within which an event is in the log; people type slower
			}
			if strings.Contains(line, "/payments ") {
				line, _, _ = strings.Cut(line, " #")
				line = "PAYMENT=$(" + strings.TrimSpace(line) + "); echo \"$PAYMENT\"\n" +
					`curl -sf -o page.html -d action=pay "$(echo "$PAYMENT" | grep -o '"pay_url":"[^"]*"' | cut -d'"' -f4)"` + "\n"
			}
			script.WriteString(line)
			if strings.HasPrefix(line, "curl") && !strings.Contains(line, `\`+"\n") || strings.HasPrefix(line, " ") {
				script.WriteString("echo\n")
			}
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOLDFAST_API_KEY=" + adminKey}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, script.String(), out)
		}

		rest := string(out)
		for _, want := range []string{
			`"available":100`, `"status":"pending"`, `"held":2`, `"pay_url":"http`, `"status":"paid"`, `"status":"fulfilled"`,
			`"type":"order.placed"`, `"clean":true`,
		} {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Fatalf("the tour does not come to %s:\n%s", want, out)
			}
			rest = after
		}
		for line := range strings.Lines(string(out)) {
			var p api.Problem
			if json.Unmarshal([]byte(line), &p) == nil && p.Code != "" {
				t.Errorf("the tour ran into %s", line)
			}
		}
		auditClean(t, db)
	})
}

// The README's lines for the command line, as printed but for where the program lies.
func TestTheCommandLinesOfTheREADMEWorkAsPrinted(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	script := "set -e\n" + strings.ReplaceAll(readmeBlock(t, "From the command line", "sh"), "bin/holdfast", "$PROGRAM")
	binary, err := shipped.binary()
	if err != nil {
		t.Fatal(err)
	}
	db := database(t)
	s := serve(t, db, "--demo")
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), bash, "-c", script)
	cmd.Dir = folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "PROGRAM=" + binary, "HOLDFAST_API_KEY=" + adminKey, "HOLDFAST_URL=" + s.url,
		"HOLDFAST_DATABASE_URL=" + db,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	rest := string(out)
	for _, want := range []string{"sku-poster", "sku-ticket", "left to pay", "CNY 198.00", "succeeded", "fulfilled", "handed over", "before-the-sale.db holds the record"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the lines do not come to %s:\n%s", want, out)
		}
		rest = after
	}
	auditClean(t, sqlite(filepath.Join(folder, "before-the-sale.db")))
}

// The README's program compiles and does what it says.
func TestTheProgramOfTheREADMEWorksAsPrinted(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t), "--demo")
	file := filepath.Join(t.TempDir(), "main.go")
	program := readmeBlock(t, "From Go", "go")
	if strings.Count(program, "http://127.0.0.1:8080") != 1 {
		t.Fatalf("the README's program is not what it was:\n%s", program)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(program, "http://127.0.0.1:8080", s.url, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", file)
	cmd.Dir = ".." // so that it is this client it gets
	cmd.Env = append(os.Environ(), "HOLDFAST_API_KEY="+adminKey)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " pending pay by ") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// readmeBlock is the first block of a language behind a text.
func readmeBlock(t *testing.T, behind, language string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), behind)
	_, rest, _ = strings.Cut(rest, "```"+language+"\n")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("the README has no %s behind %q", language, behind)
	}
	return block
}
