package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the longer text.
func (completionCommand) Help() string {
	return `bash: put this line into ~/.bashrc:   source <(holdfast completion bash)
zsh:  put this line into ~/.zshrc:    source <(holdfast completion zsh)
fish: holdfast completion fish > ~/.config/fish/completions/holdfast.fish`
}

// The scripts ask the program itself, so that they fit every version of it. $1… are the words before the cursor and the one under
// it.
var completionScripts = map[string]string{
	"bash": `_holdfast() {
  local IFS=$'\n'
  COMPREPLY=($(holdfast __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _holdfast holdfast
`,
	"zsh": `#compdef holdfast
_holdfast() {
  local -a found
  found=("${(@f)$(holdfast __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  [[ -n "${found[1]}" ]] && compadd -Q -- "${found[@]}" || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _holdfast holdfast
`,
	"fish": `function __holdfast_found
  holdfast __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c holdfast -n 'test (count (__holdfast_found)) -gt 0' -f -a '(__holdfast_found)'
`,
}

// Run prints the script.
func (c *completionCommand) Run(_ context.Context, in *invocation) error {
	_, err := fmt.Fprint(in.Stdout, completionScripts[c.Shell])
	return err
}

type completeCommand struct {
	Words []string `arg:"" optional:""`
}

// Run prints what can stand in place of the last word, a line each.
func (c *completeCommand) Run(_ context.Context, in *invocation, k *kong.Context) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	for _, candidate := range complete(k.Model.Node, words) {
		if _, err := fmt.Fprintln(in.Stdout, candidate); err != nil {
			return err
		}
	}
	return nil
}

// complete walks along the commands in the words and finds what can stand in place of the last one.
func complete(node *kong.Node, words []string) []string {
	last := words[len(words)-1]
	var waiting *kong.Flag // for its value
	for _, word := range words[:len(words)-1] {
		switch {
		case word == "=": // bash takes --output=json for three words
		case waiting != nil:
			waiting = nil
		case strings.HasPrefix(word, "-"):
			if f := flagNamed(node, word); f != nil && !f.IsBool() {
				waiting = f
			}
		default:
			for _, child := range node.Children {
				if child.Name == word {
					node = child
					break
				}
			}
		}
	}
	if last == "=" && waiting != nil {
		last = ""
	}
	var all []string
	name, _, valued := strings.Cut(last, "=")
	switch f := flagNamed(node, name); {
	case waiting != nil:
		all = values(waiting.Value, "")
	case valued && f != nil:
		all = values(f.Value, name+"=")
	case strings.HasPrefix(last, "-"):
		all = flagsFor(node)
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
		for _, p := range node.Positional {
			all = append(all, values(p, "")...)
		}
	}
	all = slices.DeleteFunc(all, func(candidate string) bool { return !strings.HasPrefix(candidate, last) })
	slices.Sort(all)
	return all
}

// flagNamed finds the flag that a word is, at a command or above it.
func flagNamed(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			if "--"+f.Name == name || f.Short != 0 && "-"+string(f.Short) == name {
				return f
			}
		}
	}
	return nil
}

func flagsFor(node *kong.Node) (all []string) {
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			all = append(all, "--"+f.Name)
		}
	}
	return all
}

// values are what can be written for a flag or an argument, when that is a choice.
func values(v *kong.Value, before string) (all []string) {
	if v.Enum == "" {
		return nil
	}
	for choice := range strings.SplitSeq(v.Enum, ",") {
		all = append(all, before+strings.TrimSpace(choice))
	}
	return all
}
