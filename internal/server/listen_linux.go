package server

import (
	"errors"
	"syscall"
	"time"
)

// unacknowledgedMax is how long what was sent may stay unacknowledged. A peer that is gone without a word (a phone out of reach, a
// cable pulled) would else be kept for a quarter of an hour, by a stream that goes on writing to it.
const unacknowledgedMax = 30 * time.Second

const tcpUserTimeout = 0x12 // linux/tcp.h; package syscall does not name it

// dropDead sets it for all connections that a socket accepts.
func dropDead(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unacknowledgedMax.Milliseconds()))
	})
	return errors.Join(err, failed)
}
