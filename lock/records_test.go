package lock

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	for _, want := range []Record{
		{Token: 1, State: Clean, Owner: "o"},
		{
			Token: 1<<64 - 1, State: Held, TTL: 15 * time.Second, Owner: "o",
			Holder:   Holder{ID: "host/1", Host: "host", Token: 7, Since: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)},
			Host:     &HostRecord{BootID: "b", PIDNS: "pid:[1]", Child: 4, Start: 1 << 63},
			Handover: &Handover{To: "b", Hops: 3},
		},
	} {
		got, err := DecodeRecord(want.Encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", want.Encode(), got, err, want)
		}
	}
}

// What is no record is never taken for "nobody holds".
func TestNotARecord(t *testing.T) {
	for _, raw := range []string{
		"", "{}", "null", "[]", "1", "hello", `{"token":1}`, `{"state":"held"}`, `{"token":0,"state":"clean"}`,
		`{"token":1,"state":"Held"}`, `{"token":-1,"state":"held"}`, `{"token":1.5,"state":"held"}`,
		`{"token":1,"state":"held"} {}`, `{"token":1,"state":"held"`, "\x00\x00",
		`{"token":1,"state":"held","owner":""}`, `{"token":1,"state":"held","owner":"o","ttl":-1}`,
		`{"token":18446744073709551616,"state":"held","owner":"o"}`,
	} {
		if r, err := DecodeRecord([]byte(raw)); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %+v, %v; want ErrConfig", raw, r, err)
		}
	}
}

// A record that is not understood is the zero record with an error, so that it can
// be taken neither for a clean one nor for another's.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"token":1,"state":"held","ttl":5,"owner":"x","holder":{"id":"a"},"host_record":{"child":1}}`))
	f.Add([]byte(`{"token":18446744073709551615,"state":"clean","owner":"x","holder":{"since":"9999-12-31T23:59:59.9-23:59"}}`))
	f.Add([]byte(`{"TOKEN":2,"token":1,"state":"held","State":"clean","owner":"\ud800"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRecord(raw)
		if err != nil {
			if !errors.Is(err, ErrConfig) || r != (Record{}) {
				t.Errorf("%q: %+v, %v", raw, r, err)
			}
			return
		}
		if r.Token == 0 || r.State != Held && r.State != Clean || r.Owner == "" {
			t.Errorf("%q: %+v names no tenure", raw, r)
		}
		if again, err := DecodeRecord(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %+v, again %+v, %v", raw, r, again, err)
		}
	})
}

// Leaderruns of different versions meet: what one does not know is no error to it, and
// what it does not write is nothing to the other.
func TestRecordOfAnotherVersion(t *testing.T) {
	old := `{"token":7,"state":"clean","ttl":15000000000,"owner":"o","holder":{"id":"a","host":"h","token":7,"since":"2026-01-02T03:04:05Z"}}`
	r, err := DecodeRecord([]byte(old))
	if err != nil || r.Handover != nil || r.Holder.PID != 0 {
		t.Errorf("%s: %+v, %v", old, r, err)
	}
	if got := string(r.Encode()); got != old {
		t.Errorf("encoded as %s, want %s", got, old)
	}
	newer := strings.Replace(old, `"state"`, `"handover":{"to":"b","hops":2,"why":"?"},"more":[1],"state"`, 1)
	r, err = DecodeRecord([]byte(newer))
	if err != nil || *r.Handover != (Handover{To: "b", Hops: 2}) {
		t.Errorf("%s: %+v, %v", newer, r, err)
	}
}
