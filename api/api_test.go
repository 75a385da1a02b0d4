package api

import (
	"encoding/json"
	"testing"
)

func TestChangeTellsLeftOutFromCleared(t *testing.T) {
	for text, change := range map[string]PutUser{
		`{}`:                         {},
		`{"name":"Li"}`:              {Name: Set("Li")},
		`{"name":null}`:              {Name: Clear[string]()},
		`{"name":"","metadata":{}}`:  {Name: Set(""), Metadata: Set(Metadata(`{}`))},
		`{"phone":"1","email":null}`: {Phone: Set("1"), Email: Clear[string]()},
	} {
		got, err := json.Marshal(change)
		if err != nil || string(got) != text {
			t.Errorf("%+v is written %s (%v), want %s", change, got, err, text)
		}
		var back PutUser
		if err := json.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(back); string(again) != text {
			t.Errorf("%s is read and written as %s", text, again)
		}
	}
}

func TestProblemKeepsItsMembers(t *testing.T) {
	var p Problem
	text := `{"type":"about:blank","title":"Conflict","status":409,"code":"out_of_stock","detail":"d","product_id":"sku-1","available":3,"request_id":"r"}`
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != 409 || p.Code != CodeOutOfStock || string(p.Members["available"]) != "3" || len(p.Members) != 2 {
		t.Errorf("read %+v", p)
	}
	if err := json.Unmarshal([]byte(`{"code":"order_not_payable","status":"expired","errors":[{"field":"a","detail":"b"}]}`), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != 0 || string(p.Members["status"]) != `"expired"` || len(p.Members) != 1 || len(p.Errors) != 1 {
		t.Errorf("read %+v", p)
	}
	if err := json.Unmarshal([]byte(`{"code":1}`), &p); err == nil {
		t.Error("a number is taken for a code")
	}
}
