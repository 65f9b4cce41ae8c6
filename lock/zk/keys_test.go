package zk

import "testing"

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"nightly": "nightly", "a b.c": "a b.c", "ü☃": "ü☃", "..": "%2E%2E", ".": "%2E", "...": "...",
		"a%2F": "a%252F", "a/b": "a%2Fb", "🙂": "%F0%9F%99%82", "\x01\u0085": "%01%C2%85",
	} {
		if got := escape(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// Numbers begin anew from below when they have come to their end.
func TestPlaces(t *testing.T) {
	const owner = "0123456789abcdef"
	for _, test := range []struct {
		name    string
		owner   string
		seq     int32
		ordered bool
	}{
		{owner + "-lock-0000000007", owner, 7, true},
		{owner + "-lock-2147483647", owner, 1<<31 - 1, true},
		{owner + "-lock--2147483648", owner, -1 << 31, true},
		{owner + "-lock--000000005", owner, -5, true}, // Java's %010d counts the sign
		{owner + "-lock-9999999999", "", 0, false},
		{"_c_" + owner + "-lock-0000000007", "", 7, true},
		{"lock-0000000007", "", 7, true},
		{owner + "__lock__0000000007", "", 0, false},
		{"x", "", 0, false},
	} {
		p := parsePlace("/q", test.name)
		if p.path != "/q/"+test.name || p.owner != test.owner || p.seq != test.seq || p.ordered != test.ordered {
			t.Errorf("%s: %+v", test.name, p)
		}
	}
	for _, pair := range [][2]int32{{1, 2}, {-1, 0}, {1<<31 - 1, -1 << 31}, {1<<31 - 5, -1<<31 + 5}} {
		p, q := place{seq: pair[0]}, place{seq: pair[1]}
		if !p.before(q) || q.before(p) || p.before(p) {
			t.Errorf("%d is not before %d", pair[0], pair[1])
		}
	}
}
