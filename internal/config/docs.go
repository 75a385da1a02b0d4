package config

import (
	"fmt"
	"strings"
)

//go:generate go test -count=1 -run ^TestSettingsAreDocumented$ . -update

// Markdown is docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Written by make generate from internal/config. -->

Every setting is a flag, an environment variable and a line of ` + "`holdfast.yaml`" + `. The flag goes before the variable, the
variable before the file, the file before the default; an empty value counts as none. The file is looked for in the
working folder, or where ` + "`--config`" + ` or ` + "`HOLDFAST_CONFIG`" + ` say. A setting that does not exist is an error, wherever it stands.
A duration is written with its units, such as 90s, 30m or 1h30m; a list with commas, or in the file as a list. The file has up to 64 kB,
one value up to 2 kB.

` + "`pay_window: 15m`" + ` in the file is ` + "`HOLDFAST_PAY_WINDOW=15m`" + ` in the environment and ` + "`--pay-window 15m`" + ` as a flag.
` + "`holdfast config`" + ` shows what is in effect and where each value came from.
`)
	for _, section := range Sections() {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | form | default | |\n|---|---|---|---|\n", section)
		for _, s := range Settings() {
			if s.Section == section {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, s.formInWords(), s.defaultInWords(), s.helpInWords())
			}
		}
	}
	return b.String()
}

func (s *Setting) formInWords() string {
	if s.Limits == "" {
		return s.Form
	}
	return s.Form + ", " + s.Limits
}

func (s *Setting) helpInWords() string {
	if s.Secret {
		return s.Help + " **Secret**: never shown, not by `holdfast config`, an error or the log."
	}
	return s.Help
}

func (s *Setting) defaultInWords() string {
	if s.Default == "" {
		return s.Unset
	}
	return "`" + s.Default + "`"
}
