package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompletionKnowsCommandsFlagsAndChoices(t *testing.T) {
	s := newShell(t)
	for typed, want := range map[string][]string{
		"or":                           {"order"},
		"order p":                      {"pay", "place"},
		"order watch --to":             {"--to-the-end"},
		"order get 1 --output ":        {"json", "table"},
		"order get 1 -o j":             {"json"},
		"order get 1 --output=t":       {"--output=table"},
		"order get 1 --output = ":      {"json", "table"},
		"order --url http://a get --o": {"--output"},
		"completion ":                  {"bash", "fish", "zsh"},
		"key revoke x":                 nil,
		"nothing ":                     nil,
		"serve --pay-w":                {"--pay-window"},
		"__":                           nil,
	} {
		words := strings.Split(typed, " ")
		got := strings.Fields(s.must(t, append([]string{"__complete", "--"}, words...)...))
		if typed == "nothing " {
			continue // it may offer what it likes, but must not fail
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
	if help := s.must(t, "--help"); strings.Contains(help, "__complete") {
		t.Error("the help shows what is for scripts only")
	}
}

// The shells themselves take the scripts. What they ask is answered by a stand-in that tells what it was asked.
func TestShellsTakeTheirScripts(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "holdfast"), []byte("#!/bin/sh\nprintf 'asked:%s\\n' \"$*\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for shell, drive := range map[string]string{
		"bash": `COMP_WORDS=(holdfast order pl); COMP_CWORD=2; _holdfast; printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh":  `compadd() { shift 2; print -l -- "$@" }; words=(holdfast order pl); CURRENT=3; _holdfast`,
		"fish": `complete -C "holdfast order pl"`,
	} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("NOT TESTED: %v", err)
			continue
		}
		script := s.must(t, "completion", shell)
		cmd := exec.CommandContext(t.Context(), path, "-c", script+"\n"+drive)
		cmd.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "HOME=" + folder}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "asked:__complete -- order pl") {
			t.Errorf("%s: got %v and %s, want it to ask for the words", shell, err, out)
		}
	}
}
