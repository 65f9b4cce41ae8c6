package lock

import (
	"slices"
	"strings"
)

// ElectionsIn returns the names of the elections that keys of PREFIX/NAME/... tell of,
// sorted: by a record, or by a place in the queue, whose own name isPlace knows. All
// else is passed over.
func ElectionsIn(prefix string, keys []string, isPlace func(string) bool) []string {
	var names []string
	for _, key := range keys {
		name, what, _ := strings.Cut(strings.TrimPrefix(key, prefix+"/"), "/")
		place, queued := strings.CutPrefix(what, "queue/")
		if name != "" && (what == "record" || queued && isPlace(place)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
