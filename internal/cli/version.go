package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// released is set by a release that is built outside of a checkout: -ldflags "-X <this package>.released=v1.2.3". A build in a
// checkout knows its version by itself.
var released string

type versionCommand struct {
	output
}

// Run shows the version.
func (c *versionCommand) Run(_ context.Context, in *invocation) error {
	v := version()
	if c.json() {
		return writeJSON(in.Stdout, v)
	}
	_, err := fmt.Fprintln(in.Stdout, v.line())
	return err
}

type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	At       string `json:"committed_at,omitempty"`
	Modified bool   `json:"modified"` // built with changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func version() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.read(info)
	}
	if released != "" {
		b.Version = released
	}
	return b
}

func (b *build) read(info *debug.BuildInfo) {
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.At = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
}

func (b build) line() string {
	line := "holdfast " + b.Version
	if b.Commit != "" {
		line += fmt.Sprintf(", commit %.12s", b.Commit)
	}
	return line + ", " + b.Go + " " + b.Platform
}
