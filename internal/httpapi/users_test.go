package httpapi

import (
	"bytes"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
)

func TestUserIsCreatedChangedAndCleared(t *testing.T) {
	d := newDesk(t)
	put := func(body string) answer {
		t.Helper()
		return d.send("PUT", "/v1/users/u%2F1", body, apikey.UsersWrite)
	}
	a := put(`{"name":"Li","phone":"+86 1","email":"li@example.com","address":"1 Road","metadata":{"b": 1.0, "a": 9007199254740993}}`)
	d.wantsStatus(a, 201)
	u := read[api.User](d, a)
	if u.UserID != "u/1" || *u.Name != "Li" || string(u.Metadata) != `{"a":9007199254740993,"b":1.0}` {
		t.Errorf("created as %s", a.body)
	}
	a = put(`{"phone":null,"email":"","metadata":null}`)
	d.wantsStatus(a, 200)
	u = read[api.User](d, a)
	if *u.Name != "Li" || u.Phone != nil || u.Email != nil || *u.Address != "1 Road" || string(u.Metadata) != `{}` || u.Version != 2 {
		t.Errorf("changed to %s", a.body)
	}
	if got := d.get("/v1/users/u%2F1", apikey.UsersRead); !bytes.Equal(got.body, a.body) {
		t.Errorf("read as %s, want %s", got.body, a.body)
	}
	d.wantsStatus(d.send("PUT", "/v1/users/nobody", `{}`, apikey.UsersWrite), 201)
}
