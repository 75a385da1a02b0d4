package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/limits"
)

const (
	envPrefix   = "HOLDFAST_"
	envFile     = envPrefix + "CONFIG"
	defaultFile = "holdfast.yaml"
	hidden      = "(hidden)"
)

// Sources is where settings are looked for. A flag goes before the environment, the environment before the file, and an
// empty value counts as none.
type Sources struct {
	Flags   map[string]string // by the name of the setting
	Environ []string          // as os.Environ gives it
	File    string            // of --config; "": HOLDFAST_CONFIG, or holdfast.yaml in Folder if it is there
	Folder  string            // "": the working folder
}

// Environ is the environment of this process.
func Environ() []string { return os.Environ() }

// Value is a setting as it is in effect, fit to be shown.
type Value struct {
	Setting Setting
	Text    string // hidden where it is secret; "" where nothing is set
	Source  Source
	Where   string // the flag, the variable, or the line of the file
}

// Source is where a value came from.
type Source string

// The sources, the strongest first.
const (
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// Load reads all settings and says where each came from. Its error is Errors: everything that is wrong, at once.
func Load(from Sources) (Config, []Value, error) {
	file, wrong := from.file()
	environment, unknown := from.environment()
	wrong = append(wrong, unknown...)

	var c Config
	var values []Value
	broken := map[string]bool{}
	for _, s := range Settings() {
		given := from.pick(&s, environment, file)
		if given.text != "" {
			detail := unfit(given.text)
			if detail == "" {
				if detail = s.read(&c, given.text); detail != "" {
					detail = given.quote(&s) + detail
				}
			}
			if detail != "" {
				wrong = append(wrong, Wrong{Setting: s.Name, Where: given.where, Detail: detail})
				broken[s.Name] = true
			}
		}
		values = append(values, Value{Setting: s, Text: given.show(&s), Source: given.source, Where: given.where})
	}
	wrong = append(wrong, c.wrong(values, broken)...)
	if len(wrong) > 0 {
		return c, values, wrong
	}
	return c, values, nil
}

// wrong is what Validate says, with where the value came from, but for what could not even be read.
func (c *Config) wrong(values []Value, broken map[string]bool) Errors {
	var all, found Errors
	if !errors.As(c.Validate(), &all) {
		return nil
	}
	for _, w := range all {
		if broken[w.Setting] {
			continue
		}
		for _, v := range values {
			if v.Setting.Name == w.Setting {
				w.Where = v.Where
			}
		}
		found = append(found, w)
	}
	return found
}

// given is the text of a setting from one source.
type given struct {
	text   string
	source Source
	where  string
}

func (from *Sources) pick(s *Setting, environment map[string]string, file map[string]given) given {
	if text := from.Flags[s.Name]; text != "" {
		return given{text, FromFlag, "--" + s.Flag()}
	}
	if text := environment[s.Env()]; text != "" {
		return given{text, FromEnvironment, s.Env()}
	}
	if g, ok := file[s.Name]; ok {
		return g
	}
	return given{s.Default, FromDefault, ""}
}

// textBytes bounds what is written for one setting.
const textBytes = 2048

// unfit says what no setting may be, whatever its form.
func unfit(text string) string {
	if len(text) > textBytes {
		return fmt.Sprintf("is longer than %d bytes", textBytes)
	}
	return limits.Text(text, textBytes)
}

func (g *given) show(s *Setting) string {
	switch {
	case g.text == "":
		return ""
	case unfit(g.text) != "":
		return "(unfit to be shown)"
	case s.Secret:
		return hidden
	case s.show != nil:
		return s.show(g.text)
	default:
		return g.text
	}
}

func (g *given) quote(s *Setting) string {
	if s.Secret || s.show != nil {
		return ""
	}
	return fmt.Sprintf("%q ", g.text)
}

// notSettings are variables with our prefix that are for somebody else in this program.
func notSettings() []string { return []string{envFile, envPrefix + "FAILPOINTS"} }

// serviceLink reports whether a variable is one of those that Kubernetes puts into every container of a namespace with a
// service called holdfast: HOLDFAST_SERVICE_HOST=10.0.0.1, HOLDFAST_PORT=tcp://10.0.0.1:8080, HOLDFAST_PORT_8080_TCP_ADDR=….
func serviceLink(name, text string) bool {
	return serviceLinkName.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

var serviceLinkName = regexp.MustCompile(`_SERVICE_(HOST|PORT)|_PORT_[0-9]+_(TCP|UDP|SCTP)`)

// environment finds our variables, and those that look like ours and are not.
func (from *Sources) environment() (map[string]string, Errors) {
	known := map[string]bool{}
	var names []string
	for _, s := range Settings() {
		known[s.Env()] = true
		names = append(names, s.Env())
	}
	for _, name := range notSettings() {
		known[name] = true
	}
	found := map[string]string{}
	var wrong Errors
	for _, variable := range from.Environ {
		name, text, _ := strings.Cut(variable, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix):
		case known[name]:
			found[name] = text
		case serviceLink(name, text):
		default:
			wrong = append(wrong, Wrong{Setting: speakable(name), Where: string(FromEnvironment), Detail: "there is no such setting" + suggestion(name, names)})
		}
	}
	return found, wrong
}

// file reads the settings file, if there is one. A file that was asked for must be there.
func (from *Sources) file() (map[string]given, Errors) {
	path := from.File
	for _, variable := range from.Environ {
		if text, ok := strings.CutPrefix(variable, envFile+"="); ok && path == "" {
			path = text
		}
	}
	asked := path != ""
	if !asked {
		path = defaultFile
	}
	full := path
	if !filepath.IsAbs(path) {
		full = filepath.Join(from.Folder, path)
	}
	content, err := readSome(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return nil, nil
	case err != nil:
		var inPath *fs.PathError
		if errors.As(err, &inPath) {
			err = inPath.Err
		}
		return nil, Errors{{Setting: path, Detail: err.Error()}}
	}
	return parse(path, content)
}
