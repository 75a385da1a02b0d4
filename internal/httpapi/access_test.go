package httpapi

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// doors says who may come in where. Each route of the table has its entry here, written a second time on purpose: a scope that
// is changed there has to be changed here too, by somebody who thinks about it.
//
// A route that belongs to one buyer names in own what of his it shows; there a session of that buyer is let in, and one of
// another buyer meets not_found. Where own is anything, every session is let in: what it sees is the same for all, or its own.
var doors = map[string]door{
	"putProduct":     {needs: apikey.CatalogueWrite},
	"getProduct":     {needs: apikey.CatalogueRead, own: anything},
	"listProducts":   {needs: apikey.CatalogueRead, own: anything},
	"adjustStock":    {needs: apikey.CatalogueWrite},
	"getStock":       {needs: apikey.CatalogueRead},
	"releaseProduct": {needs: apikey.Admin},
	"putUser":        {needs: apikey.UsersWrite, own: "user"},
	"getUser":        {needs: apikey.UsersRead, own: "user"},
	"placeOrder":     {needs: apikey.OrdersWrite, own: "user"},
	"listOrders":     {needs: apikey.OrdersRead, own: anything},
	"getOrder":       {needs: apikey.OrdersRead, own: "order"},
	"cancelOrder":    {needs: apikey.OrdersWrite, own: "order"},
	"fulfilOrder":    {needs: apikey.OrdersWrite},
	"createPayment":  {needs: apikey.OrdersWrite, own: "order"},
	"listPayments":   {needs: apikey.OrdersRead, own: "order"},
	"getPayment":     {needs: apikey.OrdersRead, own: "payment"},
	"streamOrder":    {needs: apikey.OrdersRead, own: "order"},
	"streamUser":     {needs: apikey.OrdersRead, own: "user"},
	"streamEvents":   {needs: apikey.EventsRead},
	// For a stream of an order, as the sample has it: who may follow it may have a ticket for it.
	"createStreamTicket": {needs: apikey.OrdersRead, own: "order"},
	"createSession":      {needs: apikey.SessionsWrite},
	"getSession":         {needs: apikey.SessionsWrite, own: anything},
	"endSession":         {needs: apikey.SessionsWrite, own: anything},
	"endSessions":        {needs: apikey.SessionsWrite},
	"receiveNotice":      {}, // the signature stands for the key
	"listEvents":         {needs: apikey.EventsRead},
	"runAudit":           {needs: apikey.Admin},
	"createKey":          {needs: apikey.Admin},
	"listNumbers":        {needs: apikey.Admin},
	"fillNumbers":        {needs: apikey.Admin},
	"purgeNumbers":       {needs: apikey.Admin},
	"warmCache":          {needs: apikey.Admin},
	"listKeys":           {needs: apikey.Admin},
	"revokeKey":          {needs: apikey.Admin},
	"getHealth":          {},
	"getReady":           {},
	"getMetrics":         {},
	"getDocument":        {},
	"getDocs":            {},
	"getDocsFile":        {},
}

// door is who may come in at a route.
type door struct {
	needs apikey.Scope // "": anybody
	own   string       // anything, or what of a buyer's own it is about; "": nothing that a buyer may touch
}

const anything = "anything"

// admits lists the single scopes that open a door, spelled out rather than asked of the code that is tested.
var admits = map[apikey.Scope][]apikey.Scope{
	apikey.OrdersRead:     {apikey.OrdersRead, apikey.OrdersWrite, apikey.Admin},
	apikey.OrdersWrite:    {apikey.OrdersWrite, apikey.Admin},
	apikey.CatalogueRead:  {apikey.CatalogueRead, apikey.CatalogueWrite, apikey.Admin},
	apikey.CatalogueWrite: {apikey.CatalogueWrite, apikey.Admin},
	apikey.UsersRead:      {apikey.UsersRead, apikey.UsersWrite, apikey.Admin},
	apikey.UsersWrite:     {apikey.UsersWrite, apikey.Admin},
	apikey.EventsRead:     {apikey.EventsRead, apikey.Admin},
	apikey.SessionsWrite:  {apikey.SessionsWrite, apikey.Admin},
	apikey.Admin:          {apikey.Admin},
}

// caller is somebody at a door: his Authorization headers, and what he is answered where a scope is needed.
type caller struct {
	who    string
	sends  []string
	status int // 0: let in
}

// TestEachDoorOpensForThoseOnItsList goes through every route with every kind of caller.
func TestEachDoorOpensForThoseOnItsList(t *testing.T) {
	pairs := 0
	d, samples := newShop(t)
	record, who := d.watch(), map[apikey.Scope][]caller{}
	for _, r := range routes() {
		t.Run(r.id, func(t *testing.T) {
			door, ok := doors[r.id]
			if !ok {
				t.Fatalf("%s has no entry in doors (access_test.go): say there which scope opens it, and what of a buyer's own it is about", r.id)
			}
			if admits[door.needs] == nil && door.needs != "" {
				t.Fatalf("the scope %s has no entry in admits (access_test.go)", door.needs)
			}
			d.t, record.t = t, t
			s := samples[r.id]
			ask := func(body string, c caller) answer {
				request := d.request(r.method, s.target, body, "", s.headers(body, "")...)
				request.Header["Authorization"] = c.sends
				return d.do(request)
			}
			told := map[string]bool{}
			if who[door.needs] == nil {
				who[door.needs] = d.callersOf(door.needs)
			}
			callers := slices.Concat(who[door.needs], d.sessionsAt(r.id, door))
			for _, c := range callers {
				pairs++
				if door.needs == "" {
					c.status = 0
				}
				if c.status == 0 {
					continue // when all the others have been turned away
				}
				before := record.look()
				for _, body := range []string{s.body, `{"broken`} { // who may not come in is not told what else is wrong
					if (r.anyKey && c.status == 403 || c.status == 404) && body != s.body {
						continue // what he may not do, or whose it is, stands in the body
					}
					a := ask(body, c)
					if a.status != c.status {
						t.Errorf("%s: got %d %s, want %d", c.who, a.status, a.body, c.status)
						continue
					}
					if p := d.problem(a); c.status == 401 {
						told[p.Code+p.Detail] = true
					}
					if challenged := a.header.Get("WWW-Authenticate") != ""; challenged != (c.status == 401) {
						t.Errorf("%s: WWW-Authenticate is %q at %d", c.who, a.header.Get("WWW-Authenticate"), a.status)
					}
				}
				if tables := record.look().changed(before); len(tables) > 0 {
					t.Errorf("%s was turned away, and the tables %q changed", c.who, tables)
				}
			}
			if len(told) > 1 {
				t.Errorf("who cannot say who he is learns more than that: %v", told)
			}
			for i, c := range callers {
				if door.needs != "" && c.status != 0 {
					continue
				}
				a := ask(s.anew(s.body, i), c)
				if a.status == 401 || a.status == 403 || a.status >= 500 {
					t.Errorf("%s: got %d %s, want him let in", c.who, a.status, a.body)
				}
			}
		})
	}
	for id := range doors {
		if !slices.ContainsFunc(routes(), func(r route) bool { return r.id == id }) {
			t.Errorf("doors has an entry for %s, which is no route", id)
		}
	}
	t.Logf("%d routes, %d pairs of a route and a caller", len(routes()), pairs)
}

// callersOf lists every kind of caller at a door that needs a scope.
func (d *desk) callersOf(needs apikey.Scope) []caller {
	d.t.Helper()
	key := func(name string, change func(*apikey.Key), scopes ...apikey.Scope) string {
		id, secret := apikey.Make()
		k := &apikey.Key{ID: id, Name: name, Hash: apikey.HashOf(secret), Scopes: scopes, CreatedAt: d.clock.Now()}
		change(k)
		d.must(d.store.AddKey(d.t.Context(), k))
		return secret
	}
	asItIs := func(*apikey.Key) {}
	bearer := func(secret string) []string { return []string{"Bearer " + secret} }
	verdict := func(scopes ...apikey.Scope) int {
		if slices.ContainsFunc(scopes, func(s apikey.Scope) bool { return slices.Contains(admits[needs], s) }) {
			return 0
		}
		return 403
	}

	good := key("good", asItIs, apikey.Admin)
	callers := []caller{{"admin", bearer(good), 0}, {"admin, the scheme in another case", []string{"bEARER " + good}, 0}}
	for _, scope := range apikey.Scopes() {
		callers = append(callers, caller{string(scope) + " alone", bearer(d.keys[scope]), verdict(scope)})
	}
	var others []apikey.Scope
	for _, scope := range apikey.Scopes() {
		if !slices.Contains(admits[needs], scope) {
			others = append(others, scope)
		}
	}
	if len(others) > 0 {
		callers = append(callers, caller{"every scope but those that would do", bearer(key("others", asItIs, others...)), 403})
	}
	if needs != "" {
		callers = append(callers, caller{"every scope that there is", bearer(key("all", asItIs, apikey.Scopes()...)), 0})
	}
	chosen := "an-operators-own-key-with-~!{}-in-it-for-" + string(needs)
	key("chosen", func(k *apikey.Key) { k.Hash = apikey.HashOf(chosen) }, apikey.Admin)
	callers = append(callers,
		caller{"a key that the operator chose", bearer(chosen), 0},
		caller{"a key without scopes", bearer(key("none", asItIs)), 403},
		caller{"a key that expired this moment", bearer(key("expired", func(k *apikey.Key) { k.ExpiresAt = d.clock.Now() }, apikey.Admin)), 401},
		caller{"a key that expires next moment", bearer(key("expires", func(k *apikey.Key) { k.ExpiresAt = d.clock.Now().Add(time.Millisecond) }, apikey.Admin)), 0},
		caller{"a key that expired long ago", bearer(key("long", func(k *apikey.Key) { k.ExpiresAt = d.clock.Now().AddDate(-1, 0, 0) }, apikey.Admin)), 401},
	)
	revoked := key("revoked", asItIs, apikey.Admin)
	k, err := d.store.KeyByHash(d.t.Context(), apikey.HashOf(revoked))
	d.must(err)
	_, err = d.store.RevokeKey(d.t.Context(), k.ID)
	d.must(err)
	_, unknown := apikey.Make()
	callers = append(callers, caller{"a revoked key", bearer(revoked), 401}, caller{"a key that nobody made", bearer(unknown), 401})
	return append(callers, malformedKeys(good)...)
}

// sessionsAt lists every kind of buyer at a door: the one to whom the sample belongs, and all who are not he.
func (d *desk) sessionsAt(id string, at door) []caller {
	d.t.Helper()
	if at.needs == "" {
		return nil
	}
	bearer := func(token string) []string { return []string{"Bearer " + token} }
	owner := user.ID("u-1")
	if id == "putUser" {
		owner = "u-9"
	}
	his, others := 0, 404
	switch at.own {
	case anything:
		others = 0
	case "":
		his, others = 403, 403
	}
	session := func(change func(*apikey.Session)) string {
		now := d.clock.Now()
		sessionID, token := apikey.MakeSession()
		s := &apikey.Session{ID: sessionID, UserID: owner, Hash: apikey.HashOf(token), CreatedAt: now, ExpiresAt: now.Add(time.Minute), EndsAt: now.Add(time.Hour)}
		change(s)
		_, err := d.store.AddSession(d.t.Context(), s, 1000)
		d.must(err)
		return token
	}
	asItIs := func(*apikey.Session) {}
	good := session(asItIs)
	ended := session(asItIs)
	s, err := d.store.SessionByHash(d.t.Context(), apikey.HashOf(ended))
	d.must(err)
	d.must(d.store.EndSession(d.t.Context(), s.ID))
	_, unknown := apikey.MakeSession()
	callers := []caller{
		{"the buyer himself", bearer(session(asItIs)), his},
		{"the buyer, the scheme in another case", []string{"bEARER " + session(asItIs)}, his},
		{"the buyer, for another moment", bearer(session(func(s *apikey.Session) { s.ExpiresAt = d.clock.Now().Add(time.Millisecond) })), his},
		{"another buyer", bearer(session(func(s *apikey.Session) { s.UserID = "u-2" })), others},
		{"a buyer named in other letters", bearer(session(func(s *apikey.Session) { s.UserID = user.ID(strings.ToUpper(string(owner))) })), others},
		{"a session that rested too long", bearer(session(func(s *apikey.Session) { s.ExpiresAt = d.clock.Now() })), 401},
		{"a session at its end", bearer(session(func(s *apikey.Session) { s.ExpiresAt, s.EndsAt = d.clock.Now(), d.clock.Now() })), 401},
		{"a session that was ended", bearer(ended), 401},
		{"a session that nobody made", bearer(unknown), 401},
		{"a session cut short", bearer(good[:len(good)-1]), 401},
		{"a session in small letters", bearer(strings.ToLower(good)), 401},
		{"a session and a key", []string{"Bearer " + good, "Bearer " + d.keys[apikey.Admin]}, 401},
	}
	return callers
}

// malformedKeys are ways to send a good key, or none, that are not the one way.
func malformedKeys(good string) []caller {
	var callers []caller
	for who, sends := range map[string][]string{
		"nobody": nil, "an empty header": {""}, "no scheme": {good}, "another scheme": {"Basic " + good}, "a scheme like ours": {"Bearers " + good},
		"nothing behind the scheme": {"Bearer "}, "the scheme alone": {"Bearer"}, "two spaces": {"Bearer  " + good}, "a tab": {"Bearer\t" + good},
		"two headers": {"Bearer " + good, "Bearer " + good}, "two headers, one empty": {"Bearer " + good, ""}, "two keys": {"Bearer " + good + ", Bearer " + good},
		"cut short": {"Bearer " + good[:len(good)-1]}, "one character more": {"Bearer " + good + "A"}, "a space behind": {"Bearer " + good + " "},
		"small letters": {"Bearer " + strings.ToLower(good)}, "capital letters": {"Bearer " + strings.ToUpper(good)}, "in quotes": {`Bearer "` + good + `"`},
		"a NUL behind": {"Bearer " + good + "\x00"}, "a line break behind": {"Bearer " + good + "\r\n"}, "8 kB": {"Bearer " + strings.Repeat("x", 8<<10)},
		"201 characters": {"Bearer " + strings.Repeat("x", secretChars+1)}, "the key's id": {"Bearer " + strings.Split(good, "_")[2]},
		"a wildcard": {"Bearer %"}, "SQL": {"Bearer ' OR 1=1 --"}, "as a form has it": {"Bearer " + strings.ReplaceAll(good, "_", "%5f")},
		"as base64 of a pair": {"Basic OmFkbWlu"}, "a token that is none": {"Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImFkbWluIn0."}, "no more than dots": {"Bearer ../.."},
	} {
		callers = append(callers, caller{who, sends, 401})
	}
	return callers
}

// A key in the path, the query, a cookie or the body opens nothing: there it would end in logs.
func TestKeyIsTakenFromItsHeaderOnly(t *testing.T) {
	d := newDesk(t)
	secret := d.keys[apikey.Admin]
	for _, query := range []string{"access_token=", "api_key=", "key=", "token=", "authorization=Bearer%20", "ticket="} {
		d.wants(d.get("/v1/products?"+query+secret, ""), 401, api.CodeUnauthenticated)
	}
	for _, header := range []string{"X-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization", "X-Authorization", "X-Auth-Token"} {
		d.wants(d.send("GET", "/v1/products", "", "", header, "Bearer "+secret), 401, api.CodeUnauthenticated)
	}
}

// Keys are looked up by their hash, so there is no comparison whose time could tell how much of a key is right; and whoever
// reads the record finds none.
func TestNoKeyIsInTheRecord(t *testing.T) {
	d := newDesk(t)
	var asked []apikey.Hash
	d.record.looks = func(h apikey.Hash) { asked = append(asked, h) }
	created := read[api.CreatedKey](d, d.send("POST", "/v1/keys", `{"name":"till","scopes":["admin"]}`, apikey.Admin))
	if got := d.status(created.Key); got != 200 {
		t.Fatalf("got %d with a new key, want 200", got)
	}
	if want := apikey.HashOf(created.Key); !slices.Contains(asked, want) {
		t.Errorf("looked for the hashes %x, want %x among them", asked, want)
	}
	rows := d.watch().look()
	if !rows.holds(created.KeyID) {
		t.Error("the key's id is not in the record: the look was blind")
	}
	parts := strings.Split(created.Key, "_")
	for _, secret := range []string{created.Key, parts[len(parts)-2]} {
		if rows.holds(secret) {
			t.Errorf("a key is in the record as %q", secret)
		}
	}
}

// What a key lacks the scope for looks the same whether it is there or not.
func TestForbiddenDoesNotTellWhatThereIs(t *testing.T) {
	d, samples := newShop(t)
	id := []string{"X-Request-Id", "0190cf2e-7a3b-7c4d-8e5f-0123456789ab"}
	for _, r := range routes() {
		if r.scope == "" || r.scope == apikey.EventsRead || !strings.Contains(r.pattern, "{") {
			continue
		}
		there := d.send(r.method, samples[r.id].target, samples[r.id].body, apikey.EventsRead, id...)
		not := d.send(r.method, pathParam.ReplaceAllString(r.pattern, "nobody"), "", apikey.EventsRead, id...)
		if there.status != 403 || not.status != 403 || !bytes.Equal(there.body, not.body) {
			t.Errorf("%s: got %d %s where it is, and %d %s where it is not", r.id, there.status, there.body, not.status, not.body)
		}
	}
}
