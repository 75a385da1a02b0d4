package holdfast_test

import (
	"os"
	"strings"
	"testing"
)

// Make reads the names behind a target as soon as it comes to it: what is defined further down is nothing there, and a bare machine
// would be left without the servers.
func TestWhatTargetsNeedIsDefinedBeforeThem(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	defined, _, found := strings.Cut(string(text), "\nSERVERS :=")
	if !found || !strings.Contains(string(text), "\ntest: has-compiler $(SERVERS)") {
		t.Fatal("the Makefile names no servers, or its tests need none")
	}
	if strings.Contains(defined, "$(SERVERS)") {
		t.Error("a target that needs $(SERVERS) stands before their names")
	}
}
