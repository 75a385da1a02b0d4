package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const generateMax = 8 * time.Minute // the generator is built when it is first needed

// A stranger's program, generated from the document by a public generator, takes the tour. The generator and what it needs are
// a module of their own: the desk does not depend on them.
func TestAGeneratedClientTakesTheTour(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join("generated", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document, err := filepath.Abs("../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "desk"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), generateMax)
	defer cancel()
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	plain := []string{"GOFLAGS=-mod=readonly", "GOWORK=off"} // built as the other programs of the tests: most of it is there
	run(plain, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "desk", "-o", "desk/desk.go", document)
	run(plain, "go", "build", "-o", "tour", ".")

	db := database(t)
	s := serve(t, db)
	out := run([]string{"HOLDFAST_URL=" + s.url, "HOLDFAST_API_KEY=" + adminKey}, filepath.Join(folder, "tour"))
	for _, want := range []string{"placed 2", "refused out_of_stock", "fulfilled 2", "order.placed order.paid order.fulfilled", "clean"} {
		if !strings.Contains(out, want) {
			t.Errorf("the tour does not come to %q:\n%s", want, out)
		}
	}
	auditClean(t, db)
}
