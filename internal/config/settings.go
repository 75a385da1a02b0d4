package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// Setting is one row of the table. Its name, pay_window, is its line in holdfast.yaml; --pay-window is its flag and
// HOLDFAST_PAY_WINDOW its environment variable.
type Setting struct {
	Name    string
	Section Section
	Form    string // what is written: host:port, duration, …
	Limits  string // of a number or a duration
	Default string
	Unset   string // what happens when there is neither a value nor a default
	Help    string
	Secret  bool // never shown

	separator string                              // of values that may be a list in the file
	read      func(c *Config, text string) string // says what is wrong with the text, or ""
	check     func(c *Config) string              // says what is wrong with the value, or ""
	show      func(text string) string            // what may be shown of the text; nil: all of it
}

// Section groups settings by who needs them.
type Section string

// The sections, in the order they are shown.
const (
	Desk   Section = "The desk"
	Guards Section = "Limits, guards and sessions"
	Tuning Section = "Tuning"
	Caller Section = "Commands that call a running desk"
)

// Sections lists every section.
func Sections() []Section { return []Section{Desk, Guards, Tuning, Caller} }

// Env is the setting's environment variable.
func (s *Setting) Env() string { return envPrefix + strings.ToUpper(s.Name) }

// Flag is the setting's flag, without the dashes before it.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// The bounds of settings that limits does not know.
const (
	secretCharsMin   = 16
	secretCharsMax   = 200
	adminKeyCharsMin = 32
	drainDelayMax    = 10 * time.Minute
	batchMaxMax      = 4096
	queueMax         = 1_000_000
	openWaitMin      = 10 * time.Millisecond
	openWaitMax      = 2 * time.Second // who has waited so long is refused in any case
	numberBlockMax   = 1_000_000
	numbersReadyMax  = 100_000_000
	streamsMaxMax    = 1_000_000

	repeatGuardMax = time.Minute
	sessionIdleMin = time.Minute
	sessionMaxMax  = 366 * 24 * time.Hour

	eventRetentionMin = 7 * 24 * time.Hour // an idempotency key is answered with an event's data, for 72 hours and then some
	eventRetentionMax = 20 * 366 * 24 * time.Hour
)

// Settings is the table of every setting.
func Settings() []Setting {
	return []Setting{
		address("listen", func(c *Config) *string { return &c.Listen }, Setting{
			Section: Desk, Default: "127.0.0.1:8080",
			Help: "Where the desk listens. Port 0 takes a free one.",
		}),
		{
			Name: "database_url", Section: Desk, Form: "URL", Default: "sqlite:holdfast.db",
			Help: "The record: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE. A relative path " +
				"begins in the working folder. The password is never shown.",
			read: text(func(c *Config) *string { return &c.DatabaseURL }), check: checkDatabase, show: showURL,
		},
		oneOf("durability", func(c *Config) *string { return &c.Durability }, []string{DurabilityRequired, DurabilityDegraded}, Setting{
			Section: Desk, Default: DurabilityRequired,
			Help: "What to do with a database whose settings may lose what it has committed: required refuses it and names them; degraded runs, " +
				"and says so in /readyz, a metric and the log.",
		}),
		{
			Name: "redis_url", Section: Desk, Form: "redis://HOST:PORT", Unset: "no Redis",
			Help: "Redis or Valkey in front of the record: rediss:// for TLS, ?addr=HOST:PORT for more nodes of a cluster, ?master_set=NAME for sentinels.",
			read: text(func(c *Config) *string { return &c.RedisURL }), check: checkRedis, show: showURL,
		},
		{
			Name: "admin_key", Section: Desk, Form: "text", Unset: "made at the first start, shown once", Secret: true,
			Help: "An API key that may do everything: 32 to 200 visible ASCII characters. Only its hash is kept.",
			read: text(func(c *Config) *string { return &c.AdminKey }),
			check: func(c *Config) string {
				return visible(c.AdminKey, adminKeyCharsMin, secretCharsMax)
			},
		},
		{
			Name: "sandbox_secret", Section: Desk, Form: "text", Unset: "made at the first start, kept in the database", Secret: true,
			Help: "Signs and verifies the notices of the sandbox provider: 16 to 200 visible ASCII characters.",
			read: text(func(c *Config) *string { return &c.SandboxSecret }),
			check: func(c *Config) string {
				return visible(c.SandboxSecret, secretCharsMin, secretCharsMax)
			},
		},
		{
			Name: "providers", Section: Desk, Form: "list", Default: "sandbox", separator: ",",
			Help: "How orders can be paid, separated by commas: sandbox, or off.",
			read: readProviders, check: checkProviders,
		},
		{
			Name: "public_url", Section: Desk, Form: "URL", Unset: "the address it listens on",
			Help: "Where buyers and providers reach the desk; pay_url begins with it.",
			read: webAddress(func(c *Config) *string { return &c.PublicURL }),
			check: func(c *Config) string {
				return checkWebAddress(c.PublicURL)
			},
		},
		{
			Name: "cors_origins", Section: Desk, Form: "list", Default: off, separator: ",",
			Help: "Web pages of which origins may call the API from a browser, such as https://shop.example, separated by commas; * is any, off none.",
			read: readOrigins, check: checkOrigins,
		},
		address("admin_listen", func(c *Config) *string { return &c.AdminListen }, Setting{
			Section: Desk, Default: off,
			Help: "Where pprof listens, or off. Not for the public.",
		}),
		duration("drain_delay", func(c *Config) *time.Duration { return &c.DrainDelay }, 0, drainDelayMax, Setting{
			Section: Desk, Default: "0s",
			Help: "How long the desk goes on accepting after readiness went down, when it is stopped.",
		}),
		duration("pay_window", func(c *Config) *time.Duration { return &c.PayWindow }, limits.PayWindowMin, limits.PayWindowMax, Setting{
			Section: Desk, Default: "30m",
			Help: "How long an order may stay unpaid, where its products do not say.",
		}),
		{
			Name: "countdown", Section: Desk, Form: strings.Join(countdowns(), ", "), Default: CountdownAuto,
			Help: "What names the orders whose time to pay is over: redis (sorted sets) or keyspace (keys that expire), or sql, which only looks at the record, every second. auto is redis where there is Redis, else this process' memory. The record is looked at in any case.",
			read: text(func(c *Config) *string { return &c.Countdown }), check: checkCountdown,
		},
		oneOf("gate", func(c *Config) *string { return &c.Gate }, []string{GateAuto, GateInProcess, GateOff}, Setting{
			Section: Desk, Default: GateAuto,
			Help: "What refuses orders that cannot succeed before the record is asked: auto is Redis where there is Redis, else what this process " +
				"knows; inproc is that in any case; off refuses nothing, so that the record decides about every order, which is slow when much is sold out.",
		}),
		duration("remind_before", func(c *Config) *time.Duration { return &c.RemindBefore }, 0, limits.PayWindowMax, Setting{
			Section: Desk, Default: "5m",
			Help: "How long before its deadline an unpaid order is told as order.expiring; 0s: never.",
		}),
		{
			Name: "time_zone", Section: Desk, Form: "IANA name", Default: "UTC",
			Help: "Of the dates in order numbers and of daily jobs, such as Asia/Shanghai.",
			read: readTimeZone,
			check: func(c *Config) string {
				return when(c.TimeZone == nil, "is required")
			},
		},
		retention("event_retention", func(c *Config) *time.Duration { return &c.EventRetention }, eventRetentionMin, eventRetentionMax, Setting{
			Section: Desk, Default: "2160h",
			Help: "How long events stay in the log, in hours; 2160h are 90 days, 0s is for ever. Orders are always kept.",
		}),
		oneOf("log_format", func(c *Config) *string { return &c.LogFormat }, []string{LogAuto, LogText, LogJSON}, Setting{
			Section: Desk, Default: LogAuto,
			Help: "text, json, or auto: text on a terminal, json elsewhere.",
		}),
		{
			Name: "log_level", Section: Desk, Form: "debug, info, warn, error", Default: "info",
			Help: "The least that is logged.",
			read: readLogLevel,
		},
		{
			Name: "otlp_endpoint", Section: Desk, Form: "URL", Unset: "no traces",
			Help: "A collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318; without a path, /v1/traces is meant.",
			read: webAddress(func(c *Config) *string { return &c.OTLPEndpoint }),
			check: func(c *Config) string {
				return checkWebAddress(c.OTLPEndpoint)
			},
		},
		ratio("trace_ratio", func(c *Config) *float64 { return &c.TraceRatio }, Setting{
			Section: Desk, Default: "0.01",
			Help: "The share of requests that are traced without their caller asking for it, 0 to 1.",
		}),

		{
			Name: "limits", Section: Guards, Form: "rules", Default: off, separator: ";",
			Help: "How often a client may call, as rules separated by semicolons: a route or * for all of them, what is counted (address, key or user), " +
				"the rate, and how many may come at once: POST /v1/orders user 5/10s burst 10; * key 1000/s. Every rule that fits counts. " +
				"What needs no key is not limited.",
			read: readLimits,
		},
		{
			Name: "trusted_proxies", Section: Guards, Form: "list", Default: off, separator: ",",
			Help: "The networks of the proxies in front, such as 10.0.0.0/8, separated by commas: what these say of a client's address is believed, and " +
				"nobody else.",
			read: readProxies, check: checkProxies,
		},
		oneOf("proxy_header", func(c *Config) *string { return &c.ProxyHeader }, []string{XForwardedFor, Forwarded}, Setting{
			Section: Guards, Default: XForwardedFor,
			Help: "The header in which they name it. The other one, which a client may have sent, is not looked at.",
		}),
		count("unpaid_orders_max", func(c *Config) *int { return &c.UnpaidOrdersMax }, 0, limits.GuardedOrders, Setting{
			Section: Guards, Default: "0",
			Help: "Orders of one user that may wait to be paid at a time; 0: any number. Those placed before it was first set are not counted.",
		}),
		count("cool_down_after", func(c *Config) *int { return &c.CoolDownAfter }, 0, limits.GuardedOrders, Setting{
			Section: Guards, Default: "0",
			Help: "How many orders a user may leave to expire within cool_down_within before he has to wait; 0: any number.",
		}),
		duration("cool_down_within", func(c *Config) *time.Duration { return &c.CoolDownWithin }, time.Second, limits.CoolDownMax, Setting{
			Section: Guards, Default: "1h",
			Help: "See cool_down_after.",
		}),
		duration("cool_down", func(c *Config) *time.Duration { return &c.CoolDown }, time.Second, limits.CoolDownMax, Setting{
			Section: Guards, Default: "15m",
			Help: "How long he waits, from the end of the last of those orders on, before he may place another.",
		}),
		duration("repeat_guard", func(c *Config) *time.Duration { return &c.RepeatGuard }, 0, repeatGuardMax, Setting{
			Section: Guards, Default: "0s",
			Help: "For how long a user may not order the same lines again under another Idempotency-Key; 0s: he may at once.",
		}),
		duration("session_idle", func(c *Config) *time.Duration { return &c.SessionIdle }, sessionIdleMin, sessionMaxMax, Setting{
			Section: Guards, Default: "30m",
			Help: "How long a buyer's session lasts without being used.",
		}),
		duration("session_max", func(c *Config) *time.Duration { return &c.SessionMax }, sessionIdleMin, sessionMaxMax, Setting{
			Section: Guards, Default: "24h",
			Help: "How long it lasts however much it is used.",
		}),

		count("batch_max", func(c *Config) *int { return &c.BatchMax }, 1, batchMaxMax, Setting{
			Section: Tuning, Default: "512",
			Help: "Commands that share one transaction at most.",
		}),
		count("open_queue", func(c *Config) *int { return &c.OpenQueue }, 1, queueMax, Setting{
			Section: Tuning, Default: "8192",
			Help: "Orders and other openings that may wait; more are answered overloaded.",
		}),
		duration("open_wait", func(c *Config) *time.Duration { return &c.OpenWait }, openWaitMin, openWaitMax, Setting{
			Section: Tuning, Default: "1s",
			Help: "How long they may have to wait; while it is longer, more are answered overloaded.",
		}),
		count("settle_queue", func(c *Config) *int { return &c.SettleQueue }, 1, queueMax, Setting{
			Section: Tuning, Default: "8192",
			Help: "Payments, cancellations and expiries that may wait.",
		}),
		count("streams_max", func(c *Config) *int { return &c.StreamsMax }, 1, streamsMaxMax, Setting{
			Section: Tuning, Default: "4000",
			Help: "Streams that may be open; more are answered overloaded. Each takes about 30 kB.",
		}),
		count("number_block", func(c *Config) *int { return &c.NumberBlock }, 1, numberBlockMax, Setting{
			Section: Tuning, Default: "1000",
			Help: "Order numbers taken from the database at once. What is left of a block when a process stops is lost.",
		}),
		count("numbers_ready", func(c *Config) *int { return &c.NumbersReady }, 1, numbersReadyMax, Setting{
			Section: Tuning, Default: "20000",
			Help: "Order numbers of a day that wait in Redis for any process to take; they are topped up when half are left.",
		}),

		{
			Name: "url", Section: Caller, Form: "URL", Default: "http://127.0.0.1:8080",
			Help: "The desk that is called.",
			read: webAddress(func(c *Config) *string { return &c.URL }),
			check: func(c *Config) string {
				return checkWebAddress(c.URL)
			},
		},
		{
			Name: "api_key", Section: Caller, Form: "text", Unset: "none", Secret: true,
			Help: "The API key to call it with. Others on this machine can see a flag; better use the environment.",
			read: text(func(c *Config) *string { return &c.APIKey }),
			check: func(c *Config) string {
				return visible(c.APIKey, 1, secretCharsMax)
			},
		},
	}
}

const off = "off"

// providerNames are the providers that a desk can have.
func providerNames() []string { return []string{"sandbox"} }

func readProviders(c *Config, text string) string {
	c.Providers = nil
	if text == off {
		return ""
	}
	for _, name := range strings.Split(text, ",") {
		c.Providers = append(c.Providers, strings.TrimSpace(name))
	}
	return ""
}

func checkProviders(c *Config) string {
	for i, name := range c.Providers {
		switch {
		case !slices.Contains(providerNames(), name):
			return fmt.Sprintf("there is no provider %q%s", name, suggestion(name, providerNames()))
		case slices.Contains(c.Providers[:i], name):
			return fmt.Sprintf("names %s twice", name)
		}
	}
	return ""
}

func readOrigins(c *Config, text string) string {
	c.CORSOrigins = nil
	if text == off {
		return ""
	}
	for _, origin := range strings.Split(text, ",") {
		c.CORSOrigins = append(c.CORSOrigins, strings.TrimSpace(origin))
	}
	return ""
}

// checkOrigins wants origins as browsers send them: anything else would never match, and nobody would know why.
func checkOrigins(c *Config) string {
	for i, origin := range c.CORSOrigins {
		u, err := url.Parse(origin)
		switch {
		case origin == "*" && len(c.CORSOrigins) > 1:
			return "is * or a list, not both"
		case origin == "*":
		case err != nil || checkWebAddress(origin) != "" || u.Path != "" || strings.ToLower(origin) != origin || strings.Contains(origin, "*"):
			return fmt.Sprintf("must be origins such as https://shop.example, in small letters and without a path; %q is none", origin)
		case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
			return fmt.Sprintf("%q must be without its port: browsers leave the usual one out", origin)
		case slices.Contains(c.CORSOrigins[:i], origin):
			return fmt.Sprintf("names %s twice", origin)
		}
	}
	return ""
}

// The ways to count down.
const (
	CountdownAuto     = "auto"
	CountdownSQL      = "sql"
	CountdownRedis    = "redis"
	CountdownKeyspace = "keyspace"
)

// What stands in front of the record.
const (
	GateAuto      = "auto"
	GateInProcess = "inproc"
	GateOff       = "off"
)

func countdowns() []string {
	return []string{CountdownAuto, CountdownSQL, CountdownRedis, CountdownKeyspace}
}

func checkCountdown(c *Config) string {
	switch {
	case !slices.Contains(countdowns(), c.Countdown):
		return "must be one of " + strings.Join(countdowns(), ", ") + suggestion(c.Countdown, countdowns())
	case c.RedisURL == "" && (c.Countdown == CountdownRedis || c.Countdown == CountdownKeyspace):
		return "needs redis_url"
	}
	return ""
}

func checkRedis(c *Config) string {
	if c.RedisURL == "" {
		return ""
	}
	u, err := url.Parse(c.RedisURL)
	switch {
	case err != nil || !slices.Contains([]string{"redis", "rediss", "valkey", "valkeys", "unix"}, u.Scheme):
		return "must be redis://[user:password@]host[:port][/db], or rediss:// for TLS"
	case u.Scheme == "unix" && u.Path == "", u.Scheme != "unix" && u.Hostname() == "":
		return "names no host"
	}
	return ""
}

func checkDatabase(c *Config) string {
	const forms = "must be sqlite:PATH, postgres://… or mysql://…"
	if path, ok := strings.CutPrefix(c.DatabaseURL, "sqlite:"); ok {
		return when(path == "", forms)
	}
	u, err := url.Parse(c.DatabaseURL)
	switch {
	case err != nil && strings.Contains(c.DatabaseURL, "://"):
		return "is no URL; what is special in a password is written with %"
	case err != nil, u.Opaque != "", !slices.Contains([]string{"postgres", "postgresql", "mysql"}, u.Scheme):
		return forms
	}
	return ""
}

// readLimits reads the rules at once: what cannot be read is no value.
func readLimits(c *Config, text string) (wrong string) {
	if c.Limits = nil; text == off {
		return ""
	}
	c.Limits, wrong = ratelimit.Parse(text)
	return wrong
}

func readProxies(c *Config, text string) string {
	c.TrustedProxies = nil
	if text == off {
		return ""
	}
	for _, word := range strings.Split(text, ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(word))
		if err != nil {
			return fmt.Sprintf("must be networks such as 10.0.0.0/8 or 2001:db8::/32; %q is none", strings.TrimSpace(word))
		}
		c.TrustedProxies = append(c.TrustedProxies, network)
	}
	return ""
}

// checkProxies wants networks as they are: an address with bits beyond its network's was meant to be something else.
func checkProxies(c *Config) string {
	for i, network := range c.TrustedProxies {
		switch {
		case network != network.Masked():
			return fmt.Sprintf("%s must be the network itself, %s", network, network.Masked())
		case network.Addr().Is4In6():
			return fmt.Sprintf("%s must be written as IPv4", network)
		case network.Bits() == 0:
			return fmt.Sprintf("%s is everybody: then any client could name any address", network)
		case slices.Contains(c.TrustedProxies[:i], network):
			return fmt.Sprintf("names %s twice", network)
		}
	}
	return ""
}
