package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is what the figures were made on. Without it they mean nothing.
type Machine struct {
	Cores    int    `json:"cores"`
	CPU      string `json:"cpu"`
	System   string `json:"system"`
	Go       string `json:"go"`
	Disk     string `json:"disk"`
	Written  string `json:"written"` // from when on the kernel writes to it
	Database string `json:"database"`
	Redis    string `json:"redis,omitempty"`
	Shared   string `json:"shared"`
}

func (r *runner) machine(ctx context.Context) Machine {
	m := Machine{
		Cores: runtime.NumCPU(), CPU: cpuModel(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Disk: fileSystem(cmp.Or(r.o.Dir, os.TempDir())), Written: writeBack(), Database: "SQLite in the server's process",
		Shared: "generator, server and database share these cores",
	}
	if r.o.DatabaseURL != "" {
		m.Disk, m.Database = "the database server's own", r.databaseVersion(ctx)
		m.Shared = "generator and server share these cores, and the database if it runs here"
	}
	if r.o.RedisURL != "" {
		m.Redis = r.redisVersion(ctx)
	}
	if r.o.URL != "" {
		m.Disk, m.Database, m.Shared = "unknown", "unknown", "the generator's cores; the server was already running and may be elsewhere"
	}
	return m
}

func (m Machine) String() string {
	database := m.Database
	if m.Redis != "" {
		database += ", Redis " + m.Redis
	}
	return fmt.Sprintf("%d cores, %s, %s, %s, disk %s, written by the kernel from %s on, database %s; %s",
		m.Cores, m.CPU, m.System, m.Go, m.Disk, m.Written, database, m.Shared)
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "CPU unknown"
	}
	defer file.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU unknown"
}
