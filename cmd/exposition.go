//go:build unix

package cmd

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An exposition is metrics in Prometheus' text format, version 0.0.4.
//
// It is written here and not by prometheus/client_golang, which costs each of a
// candidate's three processes 0.7 ms at start and 0.3 MiB, with --listen or without.
type exposition struct {
	bytes.Buffer
	labels string // of every sample
}

// family begins the samples of one name.
func (x *exposition) family(name, kind, help string) {
	x.WriteString("# HELP " + name + " " + help + ".\n# TYPE " + name + " " + kind + "\n")
}

// sample adds one value, with a label of its own if its name is not "".
func (x *exposition) sample(name string, value float64, label, is string) {
	x.WriteString(name + "{" + x.labels)
	if label != "" {
		x.WriteString("," + label + "=" + quoted(is))
	}
	x.WriteString("} " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

func (x *exposition) gauge(name, help string, value float64) {
	x.family(name, "gauge", help)
	x.sample(name, value, "", "")
}

func (x *exposition) counter(name, help string, value float64) {
	x.family(name, "counter", help)
	x.sample(name, value, "", "")
}

func (x *exposition) counters(name, help, label string, values tallies) {
	x.family(name, "counter", help)
	for _, is := range slices.Sorted(maps.Keys(values)) {
		x.sample(name, float64(values[is].Load()), label, is)
	}
}

// quoted is a label's value as the format wants it: Go's quotes would escape more.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// ownLabels are those that metrics have besides the user's.
var ownLabels = []string{"election", "candidate", "store", "cause", "state", "status", "le", "version"}

// checkLabels refuses what Prometheus would not take as a label, or would take for another.
func checkLabels(labels map[string]string) error {
	name := regexp.MustCompile("^[a-zA-Z_][a-zA-Z0-9_]*$")
	for key := range labels {
		if !name.MatchString(key) || strings.HasPrefix(key, "__") {
			return usagef("--label %q: with --listen it is a label of metrics, too: use letters, digits and _ only, no digit first and no __", key)
		}
		if slices.Contains(ownLabels, key) {
			return usagef("--label %q: with --listen metrics have a label of that name already: take another", key)
		}
	}
	return nil
}
