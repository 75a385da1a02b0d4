package client

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The defaults and bounds of a Client.
const (
	defaultTimeout  = 30 * time.Second
	defaultRetries  = 4
	defaultWait     = 100 * time.Millisecond
	defaultWaitMax  = 5 * time.Second
	waitMax         = 10 * time.Minute // whatever is asked for
	doublingsMax    = 10
	retriesMax      = 20
	retryAfterMax   = 30 * time.Second // a call is not made again for a desk that asks for more; a stream waits no longer
	auditTimeout    = 11 * time.Minute // the desk gives an audit ten
	answerBytesMax  = 16 << 20         // the longest page: 200 orders of 100 lines
	dialTimeout     = 5 * time.Second
	idleConnections = 256
	idleTimeout     = 50 * time.Second // shorter than a desk's 60 s, for unused connections too: none is used while it is being closed
)

// Options of a Client. The zero value of each is its default.
type Options struct {
	// HTTPClient makes the requests. It should have no Timeout of its own: that would end streams and audits, and should leave
	// idle connections after less than 60 s, before a desk does. Its transport should call the hooks of net/http/httptrace: without
	// them no call is known to be unsent. nil: one that does all this, dials for 5 s at most and follows no redirect, so that the
	// key goes nowhere else.
	HTTPClient *http.Client

	Timeout time.Duration // of one attempt; 30 s. An audit has 11 minutes.
	Retries int           // further attempts after the first; 4. Negative: none.
	Wait    time.Duration // before the first further attempt, doubled each time, about half of it by chance; 100 ms
	WaitMax time.Duration // the longest of these waits; 5 s

	UserAgent string // "holdfast-go"
}

func (o *Options) complete() {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Retries = cmp.Or(o.Retries, defaultRetries)
	o.Retries = min(max(o.Retries, 0), retriesMax)
	o.Wait = min(max(cmp.Or(o.Wait, defaultWait), time.Millisecond), waitMax)
	o.WaitMax = min(max(cmp.Or(o.WaitMax, defaultWaitMax), o.Wait), waitMax)
	o.UserAgent = cmp.Or(o.UserAgent, "holdfast-go")
}

// Client calls one desk. Any number of goroutines may use it at once.
type Client struct {
	base string
	key  *string // pointed to, so that a Client that is printed does not show it
	opt  Options
	http *http.Client
	desk deskClock
}

// New makes a client of the desk at an address, such as http://127.0.0.1:8080, that shows it an API key. Without a key only
// GetHealth and GetReady are answered. Nothing is sent yet.
func New(address, key string, opt Options) (*Client, error) {
	base, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("holdfast: the desk's address cannot be read") // which might hold a password
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("holdfast: the desk's address must be http://host:port or https://host, perhaps with a path")
	case slices.ContainsFunc([]byte(key), func(c byte) bool { return c <= ' ' || c > '~' }):
		return nil, errors.New("holdfast: the API key must be visible ASCII characters")
	}
	opt.complete()
	c := &Client{base: strings.TrimRight(base.String(), "/"), key: &key, opt: opt}
	c.http = httpClient(opt.HTTPClient)
	return c, nil
}

func httpClient(given *http.Client) *http.Client {
	var own http.Client
	if given != nil {
		own = *given
	} else {
		own.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConns:        idleConnections,
			MaxIdleConnsPerHost: idleConnections,
			IdleConnTimeout:     idleTimeout,
		}
	}
	if own.CheckRedirect == nil {
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return &own
}

// Close closes the connections that are idle. Calls under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ClockOffset is how far the desk's clock is ahead of this machine's, as well as its answers tell: their dates are whole
// seconds, so differences below a second may stay unseen. It is 0 before the first answer, and 0 when the two may agree.
// Add it to time.Now to show a countdown to pay_by.
func (c *Client) ClockOffset() time.Duration { return c.desk.offset() }
