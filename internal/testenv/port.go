package testenv

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// Ports below those that the system gives to whoever asks for any (Linux: from 32768): a server that was killed must find its port free
// when it comes back.
const (
	portLow  = 12000
	portHigh = 30000
	portsMax = 1000 // tried before giving up

	answerMax = 5 * time.Second
)

// reservePort finds a free TCP port. It is held against other test processes by the UDP port of the same number, also while the server
// is down, and by the kernel: a process that dies lets go.
func reservePort() (int, io.Closer, error) {
	for range portsMax {
		port := portLow + rand.IntN(portHigh-portLow)
		held, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			_ = held.Close() // taken or not, it is not used
			continue
		}
		if err := l.Close(); err != nil {
			return 0, nil, errors.Join(err, held.Close())
		}
		return port, held, nil
	}
	return 0, nil, errors.New("found no free port from " + strconv.Itoa(portLow) + " to " + strconv.Itoa(portHigh))
}

// portTaken tells whether anybody listens.
func portTaken(addr string) bool {
	conn, err := dial(addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func dial(addr string) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, answerMax) //nolint:noctx // it has a limit
}

// exchange says something to whoever listens, and gives the first bytes of the answer.
func exchange(addr, say string, n int) (string, error) {
	conn, err := dial(addr)
	if err != nil {
		return "", err
	}
	return exchangeOver(conn, say, n)
}

func exchangeOver(conn net.Conn, say string, n int) (string, error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerMax)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, say); err != nil {
		return "", err
	}
	answer := make([]byte, n)
	got, err := io.ReadFull(conn, answer)
	return string(answer[:got]), err
}
