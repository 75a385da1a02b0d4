package redisfront

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Time limits of the connection. What stands still for longer is given up: the roles of this process take over meanwhile.
const (
	dialMax    = 500 * time.Millisecond
	refresh    = time.Second // between two looks at who serves what in a cluster
	silenceMax = time.Second // a connection that does not answer for so long is closed
)

// ErrAddress is what is said of an address that cannot be used. It never repeats the address: that may hold a password.
var ErrAddress = errors.New("redis address cannot be used: it is redis://[user:password@]host[:port][/db], rediss:// for TLS, " +
	"?addr=host:port for further nodes of a cluster, ?master_set=name for sentinels")

// parse reads an address:
//
//	redis://user:password@host:6379/0            one server
//	rediss://…                                   the same over TLS; valkey:// and valkeys:// mean the same
//	redis://node1:6379?addr=node2:6379           a cluster, by some of its nodes; one node will do
//	redis://s1:26379?addr=s2:26379&master_set=m  the master m, by its sentinels; &sentinel_auth=same when they ask for the same password
func parse(address string) (rueidis.ClientOption, error) {
	option, err := rueidis.ParseURL(address)
	if err != nil {
		return option, ErrAddress
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" && u.Path == "" {
		return option, ErrAddress
	}
	option.DisableCache = true // nothing is tracked: what is believed here is believed for a time only
	option.DisableRetry = true // whoever asks decides whether to ask again
	option.AlwaysPipelining = true
	option.ClientSetInfo = rueidis.DisableClientSetInfo // one permission less, and Redis 7.0 does not know it
	option.Dialer.Timeout, option.Dialer.KeepAlive = dialMax, rueidis.DefaultTCPKeepAlive
	option.ConnWriteTimeout = silenceMax
	option.ReadBufferEachConn, option.WriteBufferEachConn = 64<<10, 64<<10
	option.ClusterOption.ShardsRefreshInterval = refresh
	if option.ClientName == "" {
		option.ClientName = "holdfast"
	}
	if option.TLSConfig != nil {
		option.DialCtxFn = dialTLS
	}
	if option.Sentinel.MasterSet != "" {
		option.Sentinel.TLSConfig, option.Sentinel.ClientName = option.TLSConfig, option.ClientName
		option.Sentinel.Dialer = option.Dialer // without its limits a sentinel that hangs hides every failover from then on
		option.Sentinel.TopologyRefreshInterval = 5 * time.Second
		if u.Query().Get("sentinel_auth") == "same" {
			option.Sentinel.Username, option.Sentinel.Password = option.Username, option.Password
		}
	}
	return option, nil
}

// dialTLS wants the certificate of the name that a server is asked by. One that is known by a number only, as nodes of a cluster are to
// each other, shows that of the first name in the address.
func dialTLS(ctx context.Context, server string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil || net.ParseIP(t.ServerName) != nil {
		t = t.Clone()
		t.ServerName = host
	}
	return (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, "tcp", server)
}

// withoutSecrets takes a password out of what a library says.
func withoutSecrets(err error, option *rueidis.ClientOption) string {
	text := err.Error()
	for _, secret := range []string{option.Password, url.QueryEscape(option.Password), url.PathEscape(option.Password)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return text
}
