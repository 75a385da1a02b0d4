package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is what the figures were made on. Without it they mean nothing.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	System string `json:"system"`
	Go     string `json:"go"`
	Disk   string `json:"disk"`
	Shared string `json:"shared"`
}

func (r *runner) machine() Machine {
	m := Machine{
		Cores: runtime.NumCPU(), CPU: cpuModel(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Disk: fileSystem(cmp.Or(r.o.Dir, os.TempDir())), Shared: "generator, server and database share these cores",
	}
	if r.o.URL != "" {
		m.Disk, m.Shared = "unknown", "the generator's cores; the server was already running and may be elsewhere"
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%d cores, %s, %s, %s, disk %s; %s", m.Cores, m.CPU, m.System, m.Go, m.Disk, m.Shared)
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
