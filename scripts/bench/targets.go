//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// A place is where a figure stands: a table's key, and the row in it.
type place struct{ table, contender, what, kind string }

// A target is what a median is to be: no more than so many times another's, or than
// an amount.
type target struct {
	place
	of    place   // zero for an amount
	name  string  // of that
	limit float64 // times, or the table's unit
	less  bool    // than the limit; else it may be as much
}

// targets are those of issue 5.
var targets = slices.Concat(everywhere(), []target{
	{place: at("cold", leaderrunEtcd), of: at("cold", etcdctl), name: etcdctl.name, limit: 1},
	{place: at("cold", leaderrunConsul), of: at("cold", consulLock), name: consulLock.name, limit: .5, less: true},
	{place: at("cold", leaderrunFile), limit: float64(25 * time.Millisecond), less: true},
	sameInCrowd(leaderrunEtcd), sameInCrowd(leaderrunZK),
	{
		place: place{"crowd-requests", leaderrunConsul.key, crowded(30), ""}, limit: .5, less: true,
		of: place{"crowd-requests", consulLock.key, crowded(30), ""}, name: consulLock.name,
	},
})

// everywhere are the targets on every store.
func everywhere() (list []target) {
	for _, c := range []contender{leaderrunFile, leaderrunEtcd, leaderrunConsul, leaderrunZK} {
		list = append(list,
			target{place: at("handover", c), of: at("handover", consulLock), name: consulLock.name, limit: 1},
			target{place: at("term", c), of: at("term", consulLock), name: consulLock.name, limit: 1},
			target{place: at("takeover", c), of: at("handover", c), name: "its handover", limit: 5, less: true},
			target{place: place{"memory", c.key, leader, "PSS"}, limit: 14 << 20},
			target{
				place: place{"memory", c.key, leader, "PSS"}, limit: .5, less: true,
				of: place{"memory", consulLock.key, leader, "PSS"}, name: consulLock.name,
			},
			target{
				place: place{"memory", c.key, standby, "PSS"}, limit: 1,
				of: place{"memory", etcdctl.key, standby, "PSS"}, name: etcdctl.name,
			},
		)
		if c.lease != nil {
			list = append(list, target{place: at("revoked", c), limit: float64(10 * time.Millisecond), less: true})
		}
	}
	return list
}

// sameInCrowd: 100 standbys cost the store no more than 10.
func sameInCrowd(c contender) target {
	of := func(n int) place { return place{"crowd-requests", c.key, crowded(n), ""} }
	return target{place: of(100), of: of(10), name: "with 10 standbys", limit: 1}
}

func at(table string, c contender) place { return place{table: table, contender: c.key} }

// judge adds the verdict to the row, if both figures are there.
func (x target) judge(rep *report) {
	t, r := rep.find(x.place)
	if r == nil {
		return
	}
	value, limit := r.Summary.Median, t.format(x.limit)
	if x.of != (place{}) {
		_, other := rep.find(x.of)
		if other == nil {
			return
		}
		value, limit = value/other.Summary.Median, fmt.Sprintf("%.2f", x.limit)
	}
	verdict := r.relate(x.name, value)
	verdict.Target, verdict.Met = "<= "+limit, value <= x.limit
	if x.less {
		verdict.Target, verdict.Met = "< "+limit, value < x.limit
	}
}

func (x ratio) String() string {
	text, met := fmt.Sprintf("%.2f × %s", x.Value, x.To), "MISSED"
	if x.Target == "" {
		return text
	}
	if x.Met {
		met = "met"
	}
	if x.To == "" {
		return fmt.Sprintf("target %s: %s", x.Target, met)
	}
	return fmt.Sprintf("%s (target %s: %s)", text, x.Target, met)
}
