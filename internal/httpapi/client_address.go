package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are those in front of the desk whose word about a client's address is taken.
type Proxies struct {
	Trusted []netip.Prefix // none: the address of the connection is the client's
	Header  string         // in which they name it: X-Forwarded-For, or Forwarded as RFC 7239 has it
}

// hopsMax bounds the addresses of one header that are looked at.
const hopsMax = 32

// client is whom a request counts for by its address: an IPv4 address, or the /64 of an IPv6 one, for that is what one subscriber
// gets.
//
// Each proxy puts whom it was called by behind what was there already, so the header is read from its end, and no further than
// somebody who is not trusted: whatever stands before him, he may have made up. What cannot be read ends it, too: then who said so is
// the last that is known.
func (p *Proxies) client(r *http.Request) string {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown" // a socket without addresses: all who come through it count together
	}
	at := oneForm(connection.Addr())
	rest := strings.Join(r.Header.Values(p.Header), ",") // several lines are one list
	for range hopsMax {
		if rest == "" || !p.trusts(at) {
			break
		}
		var hop string
		if rest, hop = p.lastHop(rest); hop == "" {
			break
		}
		before, ok := readHop(hop)
		if !ok {
			break
		}
		at = before
	}
	if at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			return network.String()
		}
	}
	return at.String()
}

func (p *Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.Trusted, func(network netip.Prefix) bool { return network.Contains(a) })
}

// oneForm is an address as it is compared: IPv4 as such, without a zone.
func oneForm(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// lastHop gives the last address of a list, and the list before it.
func (p *Proxies) lastHop(list string) (before, hop string) {
	if !strings.EqualFold(p.Header, "Forwarded") {
		at := strings.LastIndexByte(list, ',')
		return list[:max(at, 0)], list[at+1:]
	}
	before, element := cutLast(list, ',')
	for element != "" {
		var pair string
		element, pair = cutLast(element, ';')
		if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(strings.TrimSpace(name), "for") {
			hop = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return before, hop
}

// cutLast cuts a text at the last separator that does not stand in quotes. It reads from the end: a quote that a client has
// opened and not closed must not swallow what a proxy put behind it.
func cutLast(text string, separator byte) (before, last string) {
	quoted := false
	for i := len(text) - 1; i >= 0; i-- {
		switch {
		case text[i] == '"' && (i == 0 || text[i-1] != '\\'):
			quoted = !quoted
		case text[i] == separator && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return "", text
}

// readHop reads an address with or without a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
func readHop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if both, err := netip.ParseAddrPort(text); err == nil {
		return oneForm(both.Addr()), true
	}
	if inside, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inside, "]")
	}
	a, err := netip.ParseAddr(text)
	return oneForm(a), err == nil
}
