package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

const fileBytes = 64 << 10

func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(f, fileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > fileBytes {
		return nil, fmt.Errorf("is larger than %d bytes", fileBytes)
	}
	return content, nil
}

// parse reads a settings file: one mapping of names to plain values. It looks at nodes and not at values, so that every
// mistake has its line, and that off and 30m stay the words they are.
func parse(path string, content []byte) (map[string]given, Errors) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil // empty, or comments only
	} else if err != nil {
		return nil, Errors{{Setting: path, Detail: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Errors{{Setting: path, Detail: "must be one document"}}
	}
	root := document.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return nil, nil
	case root.Kind != yaml.MappingNode:
		return nil, Errors{{Setting: path, Detail: "must be lines of name: value"}}
	}
	return readMapping(path, root)
}

func readMapping(path string, root *yaml.Node) (map[string]given, Errors) {
	settings := map[string]Setting{}
	var names []string
	for _, s := range Settings() {
		settings[s.Name] = s
		names = append(names, s.Name)
	}
	found := map[string]given{}
	seen := map[string]bool{}
	var wrong Errors
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s, known := settings[key.Value]
		where := fmt.Sprintf("%s:%d", path, key.Line)
		text, ok := plain(value, s.separator)
		switch {
		case key.Kind != yaml.ScalarNode:
			wrong = append(wrong, Wrong{path, where, "the name of a setting must be one word"})
		case !known:
			wrong = append(wrong, Wrong{speakable(key.Value), where, "there is no such setting" + suggestion(key.Value, names)})
		case seen[s.Name]:
			wrong = append(wrong, Wrong{s.Name, where, "is set twice"})
		case !ok:
			wrong = append(wrong, Wrong{s.Name, where, "must be a plain value"})
		case text != "":
			found[s.Name] = given{text, FromFile, where}
		}
		seen[key.Value] = true
	}
	return found, wrong
}

// plain is the text of a scalar, or of a list of them where something separates the values of the setting.
func plain(n *yaml.Node, separator string) (string, bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", true
	case n.Kind == yaml.ScalarNode:
		return n.Value, true
	case n.Kind != yaml.SequenceNode || separator == "":
		return "", false
	}
	items := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, separator) {
			return "", false
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, separator), true
}
