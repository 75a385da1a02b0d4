package bench

import (
	"os"
	"time"
)

// usage is what a process has used up to a moment.
type usage struct {
	cpu      time.Duration
	memoryKB int64
	peakKB   int64
}

// Use is what a process used during the measured time.
type Use struct {
	CPUSeconds          float64 `json:"cpu_seconds"`
	CPUMicrosPerRequest float64 `json:"cpu_us_per_request"`
	PeakMemoryMB        float64 `json:"peak_memory_mb"` // of all its life so far
}

// meter reads a process before and after the measured time.
type meter struct {
	pid           int
	before, after usage
	err           error
}

func meterOf(pid int) *meter { return &meter{pid: pid} }

func ownMeter() *meter { return meterOf(os.Getpid()) }

func (m *meter) begin() { m.before, m.err = readUsage(m.pid) }

func (m *meter) end() {
	if m.err == nil {
		m.after, m.err = readUsage(m.pid)
	}
}

// use is nil when the system does not tell.
func (m *meter) use(requests int64) *Use {
	if m == nil || m.err != nil {
		return nil
	}
	cpu := m.after.cpu - m.before.cpu
	u := &Use{CPUSeconds: cpu.Seconds(), PeakMemoryMB: float64(m.after.peakKB) / 1024}
	if requests > 0 {
		u.CPUMicrosPerRequest = float64(cpu.Microseconds()) / float64(requests)
	}
	return u
}
