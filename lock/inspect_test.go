package lock

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Servers of which the same is to be said share a line.
func TestTellVersions(t *testing.T) {
	var got []Finding
	Tell(func(f Finding) { got = append(got, f) }).Versions([]Version{
		{At: "a", Text: "etcd 3.6"}, {At: "b", Text: "etcd 3.5 is old", Warning: true}, {At: "c", Text: "etcd 3.6"},
	})
	want := []Finding{
		{Topic: "version", Text: "etcd 3.6 (at a, c)"},
		{Topic: "version", Text: "etcd 3.5 is old (at b)", Warning: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
