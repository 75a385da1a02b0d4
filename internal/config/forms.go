package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a small container has no time zones of its own

	"github.com/holdfast-oms/holdfast/internal/limits"
)

// The forms that settings have. Each says what is wrong in words that go behind the setting's name.

func text(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, text string) string {
		*field(c) = text
		return ""
	}
}

func address(name string, field func(*Config) *string, s Setting) Setting {
	s.Name, s.Form = name, "host:port"
	s.read = func(c *Config, text string) string {
		*field(c) = text
		if s.Default == off && text == off {
			*field(c) = ""
		}
		return ""
	}
	s.check = func(c *Config) string {
		switch value := *field(c); {
		case value == "" && s.Default == off:
			return ""
		case s.Default == off && value == c.Listen && !strings.HasSuffix(value, ":0"):
			return "is the address of listen"
		default:
			return checkAddress(value)
		}
	}
	return s
}

func checkAddress(value string) string {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return "must be host:port, such as 127.0.0.1:8080 or :8080"
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return when(err != nil, "must have a port of 0 to 65535")
}

func duration(name string, field func(*Config) *time.Duration, least, most time.Duration, s Setting) Setting {
	s.Name, s.Form, s.Limits = name, "duration", short(least)+" to "+short(most)
	s.read = func(c *Config, text string) string {
		d, err := time.ParseDuration(text)
		if err != nil {
			return "must be a duration, such as 90s, 30m or 1h30m"
		}
		*field(c) = d
		return ""
	}
	s.check = func(c *Config) string {
		d := *field(c)
		return when(d < least || d > most, "must be "+s.Limits)
	}
	return s
}

// retention is a duration for which something is kept; none is for ever.
func retention(name string, field func(*Config) *time.Duration, least, most time.Duration, s Setting) Setting {
	s = duration(name, field, least, most, s)
	within := s.check
	s.check = func(c *Config) string {
		if *field(c) == 0 {
			return ""
		}
		return within(c) + when(within(c) != "", ", or 0s for ever")
	}
	return s
}

func count(name string, field func(*Config) *int, least, most int, s Setting) Setting {
	s.Name, s.Form, s.Limits = name, "number", fmt.Sprintf("%d to %d", least, most)
	s.read = func(c *Config, text string) string {
		n, err := strconv.Atoi(text)
		if err != nil {
			return "must be a whole number"
		}
		*field(c) = n
		return ""
	}
	s.check = func(c *Config) string {
		n := *field(c)
		return when(n < least || n > most, "must be "+s.Limits)
	}
	return s
}

func ratio(name string, field func(*Config) *float64, s Setting) Setting {
	s.Name, s.Form = name, "number"
	s.read = func(c *Config, text string) string {
		share, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return "must be a number, such as 0.01"
		}
		*field(c) = share
		return ""
	}
	s.check = func(c *Config) string {
		share := *field(c)
		return when(!(share >= 0 && share <= 1), "must be 0 to 1") // NaN is neither
	}
	return s
}

func oneOf(name string, field func(*Config) *string, choices []string, s Setting) Setting {
	s.Name, s.Form = name, strings.Join(choices, ", ")
	s.read = text(field)
	s.check = func(c *Config) string {
		for _, choice := range choices {
			if *field(c) == choice {
				return ""
			}
		}
		return "must be one of " + s.Form
	}
	return s
}

func readLogLevel(c *Config, text string) string {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[strings.ToLower(text)]
	c.LogLevel = level
	return when(!ok, "must be debug, info, warn or error")
}

// readTimeZone does not take Local: two processes of one desk on two machines would date their numbers differently.
func readTimeZone(c *Config, text string) string {
	zone, err := time.LoadLocation(text)
	if err != nil || text == "Local" {
		return "must be the IANA name of a time zone, such as UTC or Asia/Shanghai"
	}
	c.TimeZone = zone
	return ""
}

// webAddress drops the slash at the end, so that a path can be put behind.
func webAddress(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, text string) string {
		*field(c) = strings.TrimRight(text, "/")
		return ""
	}
}

func checkWebAddress(value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || limits.Text(value, len(value)) != "" {
		return "must be a whole address, such as https://shop.example"
	}
	return when(u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "", "must be an address without user, query or fragment")
}

func visible(value string, least, most int) string {
	if value == "" {
		return ""
	}
	if len(value) < least || len(value) > most {
		return fmt.Sprintf("must be %d to %d characters long", least, most)
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return "must be visible ASCII characters only"
		}
	}
	return ""
}

// showURL hides the password in a database's address, and an address that cannot be read altogether.
func showURL(value string) string {
	u, err := url.Parse(value)
	switch {
	case err == nil:
		if q := u.Query(); u.RawQuery != "" {
			for name := range q {
				if strings.Contains(name, "password") {
					q.Set(name, "xxxxx")
				}
			}
			u.RawQuery = q.Encode()
		}
		return u.Redacted()
	case strings.Contains(value, "@"):
		return hidden
	default:
		return value
	}
}

// short is a duration without the zeros at its end: 30m, not 30m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func when(wrong bool, detail string) string {
	if wrong {
		return detail
	}
	return ""
}
