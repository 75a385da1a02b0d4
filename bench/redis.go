package bench

import (
	"bufio"
	"cmp"
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

const (
	redisTimeout     = 30 * time.Second // emptying a full one takes a while
	redisPort        = "6379"
	redisWorksMetric = "holdfast_redis_working"
	redisFellBack    = `holdfast_redis_gate_total{what="fell_back"}`

	figurePassedBy = "orders that Redis was not asked about"
)

var (
	errRedis      = errors.New("redis did not answer as expected")
	errRedisInUse = fmt.Errorf("%w: the Redis is not empty; each run empties it, so give one that nobody uses", ErrOptions)
)

// redisConn says a few words to the Redis of the run: no reason for a client.
type redisConn struct {
	net.Conn
	in *bufio.Reader
}

// redisUsable reports whether an address is one that dialRedis understands as the servers do: if it met another database, it would
// empty that one.
func redisUsable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return err == nil
	}
	_, err = strconv.ParseUint(cmp.Or(strings.TrimPrefix(u.Path, "/"), "0"), 10, 16)
	return err == nil && (u.Scheme == "redis" || u.Scheme == "valkey") && u.Hostname() != "" && u.RawQuery == ""
}

func (r *runner) dialRedis(ctx context.Context) (*redisConn, error) {
	u, err := url.Parse(r.o.RedisURL)
	if err != nil {
		return nil, errRedis // the error would repeat the password
	}
	dialer := net.Dialer{Timeout: redisTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), redisPort)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRedis, err)
	}
	c := &redisConn{tcp, bufio.NewReader(tcp)}
	_ = c.SetDeadline(time.Now().Add(redisTimeout))
	if password, ok := u.User.Password(); ok {
		words := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			words = []string{"AUTH", name, password}
		}
		err = c.tell(words...)
	}
	if database := strings.TrimPrefix(u.Path, "/"); err == nil && database != "" {
		err = c.tell("SELECT", database)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ask sends a command and reads the first line of its answer.
func (c *redisConn) ask(words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", fmt.Errorf("%w: %w", errRedis, err)
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%w: %w", errRedis, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (c *redisConn) tell(words ...string) error {
	line, err := c.ask(words...)
	if err == nil && line != "+OK" {
		err = fmt.Errorf("%w: to %s it said %q", errRedis, words[0], line)
	}
	return err
}

// claimRedis makes sure that the Redis of the run is empty: what is in it would be lost.
func (r *runner) claimRedis(ctx context.Context) error {
	c, err := r.dialRedis(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := c.ask("DBSIZE")
	if err == nil && keys != ":0" {
		err = errRedisInUse
	}
	return err
}

// emptyRedis lets the next server begin with a Redis that knows nothing, as it begins with a new database.
func (r *runner) emptyRedis(ctx context.Context) error {
	c, err := r.dialRedis(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.tell("FLUSHDB", "SYNC")
}

// redisMemory is how many bytes the Redis of the run holds: 0 when there is none.
func (r *runner) redisMemory(ctx context.Context) (int64, error) {
	if r.o.RedisURL == "" {
		return 0, nil
	}
	c, err := r.dialRedis(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	text, err := c.info("memory", "used_memory")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// redisVersion is for the report; a Redis that does not tell is not worth a failure.
func (r *runner) redisVersion(ctx context.Context) string {
	c, err := r.dialRedis(ctx)
	if err != nil {
		return "unknown"
	}
	defer c.Close()
	version, err := c.info("server", "redis_version")
	if err != nil {
		return "unknown"
	}
	if file, err := c.info("persistence", "aof_enabled"); err == nil && file == "1" {
		version += " with its append-only file"
	}
	return version
}

// info asks for one of the things that a Redis tells of itself.
func (c *redisConn) info(section, field string) (string, error) {
	line, err := c.ask("INFO", section)
	if err != nil {
		return "", err
	}
	size, err := strconv.Atoi(strings.TrimPrefix(line, "$"))
	if err != nil {
		return "", errRedis
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(c.in, text); err != nil {
		return "", fmt.Errorf("%w: %w", errRedis, err)
	}
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return value, nil
		}
	}
	return "", errRedis
}

// frontWorks waits until the server believes its Redis.
func (s *shop) frontWorks(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		working, _, err := s.metric(ctx, redisWorksMetric)
		if err == nil && working == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not work with its Redis: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(readyPause):
		}
	}
}
