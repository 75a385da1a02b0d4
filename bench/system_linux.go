package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// userTick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const userTick = 10 * time.Millisecond

var errProc = errors.New("unknown format of /proc")

// fileSystem says what the databases are on: figures from a memory file system would flatter, a commit costs nothing there.
func fileSystem(dir string) string {
	const tmpfs, ext4, xfs, btrfs, overlay = 0x01021994, 0xef53, 0x58465342, 0x9123683e, 0x794c7630
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "of unknown kind"
	}
	switch kind := int64(s.Type); kind { //nolint:unconvert // an int32 on some systems
	case tmpfs:
		return "tmpfs (in memory: commits cost nothing)"
	case ext4:
		return "ext4"
	case xfs:
		return "xfs"
	case btrfs:
		return "btrfs"
	case overlay:
		return "overlayfs"
	default:
		return fmt.Sprintf("of kind %#x", kind)
	}
}

// writeBack says when the kernel writes to the disk what programs have written: late and much at once holds up every commit meanwhile.
func writeBack() string {
	read := func(name string) int64 {
		text, _ := os.ReadFile("/proc/sys/vm/" + name)
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		return n
	}
	much := fmt.Sprintf("%d %% of memory", read("dirty_background_ratio"))
	if n := read("dirty_background_bytes"); n > 0 {
		much = fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%s or %v", much, time.Duration(read("dirty_expire_centisecs"))*10*time.Millisecond)
}

// readUsage says what a running process has used so far. The peak is VmHWM and not getrusage's ru_maxrss, which a child
// inherits from the process that started it: here the generator with all its orders.
func readUsage(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The second field is a name in brackets that may hold anything; the fields count from behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return u, errProc
	}
	user, errUser := strconv.ParseInt(string(fields[11]), 10, 64)
	system, errSystem := strconv.ParseInt(string(fields[12]), 10, 64)
	if err := errors.Join(errUser, errSystem); err != nil {
		return u, err
	}
	u.cpu = time.Duration(user+system) * userTick

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "VmHWM":
			_, err = fmt.Sscan(string(value), &u.peakKB)
		case "VmRSS":
			_, err = fmt.Sscan(string(value), &u.memoryKB)
		}
		if err != nil {
			return u, err
		}
	}
	return u, nil
}
