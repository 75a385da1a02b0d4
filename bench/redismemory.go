package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const redisTimeout = 5 * time.Second

var errRedis = errors.New("redis did not tell its memory")

// redisMemory is how many bytes the Redis of the run holds: 0 when there is none. One question is no reason for a client.
func (r *runner) redisMemory(ctx context.Context) (int64, error) {
	if r.o.RedisURL == "" {
		return 0, nil
	}
	u, err := url.Parse(r.o.RedisURL)
	if err != nil {
		return 0, errRedis // the error would repeat the password
	}
	dialer := net.Dialer{Timeout: redisTimeout}
	c, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errRedis, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(redisTimeout))
	in := bufio.NewReader(c)
	if password, ok := u.User.Password(); ok {
		words := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			words = []string{"AUTH", name, password}
		}
		if line, err := redisAsk(c, in, words...); err != nil || line != "+OK" {
			return 0, errors.Join(errRedis, err)
		}
	}
	line, err := redisAsk(c, in, "INFO", "memory")
	size, wrong := strconv.Atoi(strings.TrimPrefix(line, "$"))
	if err != nil || wrong != nil {
		return 0, errors.Join(errRedis, err)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return 0, errors.Join(errRedis, err)
	}
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, errRedis
}

// redisAsk sends a command and reads the first line of its answer.
func redisAsk(w io.Writer, in *bufio.Reader, words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	line, err := in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
