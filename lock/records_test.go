package lock

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	for _, want := range []Record{
		{Token: 1, State: Clean},
		{
			Token: 1<<64 - 1, State: Held, TTL: 15 * time.Second, Owner: "o",
			Holder: Holder{ID: "host/1", Host: "host", Token: 7, Since: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)},
			Host:   &HostRecord{BootID: "b", PIDNS: "pid:[1]", Child: 4, Start: 1 << 63},
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
	} {
		if r, err := DecodeRecord([]byte(raw)); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %+v, %v; want ErrConfig", raw, r, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"token":1,"state":"held","ttl":5,"owner":"x","holder":{"id":"a"},"host_record":{"child":1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRecord(raw)
		if err != nil {
			return
		}
		if again, err := DecodeRecord(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %+v, again %+v, %v", raw, r, again, err)
		}
	})
}
