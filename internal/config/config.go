// Package config is every setting there is: one table, from which flags, environment variables, the lines of holdfast.yaml
// and the documentation come. It is the only package that reads the environment.
package config

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// Config is every setting as a value. Default gives one that Validate accepts.
type Config struct {
	// The desk.
	Listen        string
	DatabaseURL   string
	Durability    string // DurabilityRequired or DurabilityDegraded
	RedisURL      string // "": there is none
	AdminKey      string // "": the desk makes one at its first start
	SandboxSecret string // "": the desk makes one at its first start
	Providers     []string
	PublicURL     string   // "": the address the desk listens on; see PublicAt
	CORSOrigins   []string // none: off
	AdminListen   string   // "": off
	DrainDelay    time.Duration
	PayWindow     time.Duration
	Countdown     string        // one of the Countdown constants
	Gate          string        // one of the Gate constants
	RemindBefore  time.Duration // 0: no reminders
	TimeZone      *time.Location
	LogFormat     string // LogAuto, LogText or LogJSON
	LogLevel      slog.Level
	OTLPEndpoint  string  // "": no traces
	TraceRatio    float64 // of the requests that nobody asked to be traced

	EventRetention time.Duration // 0: events are kept for ever

	// Limits, guards and sessions. All but the sessions' are off until they are set.
	Limits          []ratelimit.Rule
	TrustedProxies  []netip.Prefix
	ProxyHeader     string // XForwardedFor or Forwarded
	UnpaidOrdersMax int    // 0: any number
	CoolDownAfter   int    // 0: never
	CoolDownWithin  time.Duration
	CoolDown        time.Duration
	RepeatGuard     time.Duration // 0: off
	SessionIdle     time.Duration
	SessionMax      time.Duration

	// Tuning.
	BatchMax     int
	OpenQueue    int
	OpenWait     time.Duration
	SettleQueue  int
	StreamsMax   int
	NumberBlock  int
	NumbersReady int

	// Commands that call a running desk.
	URL    string
	APIKey string
}

// The forms of the log.
const (
	LogAuto = "auto" // text on a terminal, JSON elsewhere
	LogText = "text"
	LogJSON = "json"
)

// What is asked of a database's settings.
const (
	DurabilityRequired = "required"
	DurabilityDegraded = "degraded"
)

// The headers in which proxies name a client's address.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded" // RFC 7239
)

// Default is what a desk without any settings runs with.
func Default() Config {
	var c Config
	for _, s := range Settings() {
		if s.Default == "" {
			continue
		}
		if wrong := s.read(&c, s.Default); wrong != "" {
			panic("config: default of " + s.Name + " " + wrong)
		}
	}
	return c
}

// Validate names every setting that is wrong, at once. Its error is Errors.
func (c *Config) Validate() error {
	var wrong Errors
	for _, s := range Settings() {
		if s.check == nil {
			continue
		}
		if detail := s.check(c); detail != "" {
			wrong = append(wrong, Wrong{Setting: s.Name, Detail: detail})
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// PublicAt is where buyers and providers reach a desk that listens on an address: public_url, or that address. An address
// of every network is reached on this machine's own.
func (c *Config) PublicAt(listening net.Addr) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	address, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return "http://" + listening.String()
	}
	if address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.Port())
	}
	return "http://" + address.String()
}
