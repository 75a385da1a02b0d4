package server

import (
	"net"
	"syscall"
	"testing"
)

func TestAcceptedConnectionsGiveUpOnPeersThatAreGone(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tcp, _ := c.(*net.TCPConn)
	socket, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := socket.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) }); err != nil {
		t.Fatal(err)
	}
	if want := int(unacknowledgedMax.Milliseconds()); got != want {
		t.Errorf("unacknowledged for %d ms at most (%v), want %d", got, err, want)
	}
}
