package telemetry

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Logger makes the process' logger, from the given level on: "text" for people, "json" for programs; anything else means text
// on a terminal and JSON elsewhere.
func Logger(w io.Writer, format string, level slog.Level) *slog.Logger {
	if w == nil {
		return slog.New(slog.DiscardHandler)
	}
	opt := &slog.HandlerOptions{Level: level}
	if format == "json" || (format != "text" && !terminal(w)) {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
