package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Wrong is one setting that is wrong. It never repeats a secret.
type Wrong struct {
	Setting string
	Where   string // "" where it came from nowhere
	Detail  string
}

func (w Wrong) String() string {
	if w.Where == "" {
		return w.Setting + ": " + w.Detail
	}
	return fmt.Sprintf("%s (%s): %s", w.Setting, w.Where, w.Detail)
}

// Errors is everything that is wrong with the settings.
type Errors []Wrong

func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d settings are wrong:", len(e))
	for _, w := range e {
		b.WriteString("\n  " + w.String())
	}
	return b.String()
}

// nameBytes is how much is repeated of a name that is none of ours.
const nameBytes = 64

// speakable is a stranger's name, fit for a line on a terminal.
func speakable(name string) string {
	cut := ""
	if len(name) > nameBytes {
		name, cut = name[:nameBytes], "…"
	}
	if quoted := strconv.QuoteToASCII(name); name == "" || quoted != `"`+name+`"` {
		name = quoted
	}
	return name + cut
}

// suggestion names what was probably meant, or nothing.
func suggestion(name string, known []string) string {
	if len(name) > nameBytes {
		return "" // nobody misspells at such length
	}
	best, least := "", max(2, len(name)/4)+1
	for _, candidate := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance counts the letters to change, add or drop (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
