//go:build linux

package main

import (
	"context"
	"time"
)

// A measurement fills one table, or several at once.
type measurement struct {
	key        string
	contenders []contender
	tables     []table // Key, Title and Unit
	run        func(context.Context, *bench, []*table, []contender) error
}

const (
	nanoseconds = "ns"
	octets      = "B"
	requests    = "requests"
)

var measurements = []measurement{
	{
		key: "handover", run: faults(childEnds),
		contenders: []contender{leaderrunFile, flock, leaderrunEtcd, etcdctl, leaderrunConsul, leaderrunZK, consulLock},
		tables:     one("handover", nanoseconds, "handover: the leader's child ends by itself, to the first instruction of the next child"),
	},
	{
		key: "term", run: faults(terminate),
		contenders: []contender{
			leaderrunFile, flock.within(time.Second), leaderrunEtcd, etcdctl.within(time.Second),
			leaderrunConsul, leaderrunZK, consulLock,
		},
		tables: one("term", nanoseconds, "handover: SIGTERM to the leader, to the first instruction of the next child"),
	},
	{
		key: "takeover", run: faults(killSupervisor),
		contenders: []contender{
			// The least TTL that etcd grants; etcdctl's default is 10 s. `consul lock`
			// has 15 s, of which Consul waits for two, and the lock-delay is 15 s.
			leaderrunFile, flock.within(time.Second), leaderrunEtcd, etcdctl.within(6*time.Second, "--ttl=2"),
			leaderrunConsul, leaderrunZK, consulLock.within(time.Minute),
		},
		tables: one("takeover", nanoseconds, "takeover: SIGKILL to the leading supervisor, to the first instruction of the next child"),
	},
	{
		key: "tree", run: faults(killTree),
		contenders: []contender{
			// What is lost with a host: with the least TTL of each.
			leaderrunFile, flock, leaderrunEtcd.within(15*time.Second, "--ttl=2s"), etcdctl.within(6*time.Second, "--ttl=2"),
			leaderrunConsul.within(time.Minute, "--ttl=10s"), leaderrunZK.within(20*time.Second, "--ttl=4s"), consulLock.within(time.Minute),
		},
		tables: one("tree", nanoseconds, "takeover: SIGKILL to all processes of the leader at once, to the first instruction of the next child"),
	},
	{
		key: "stopped", run: faults(stopSupervisor),
		contenders: []contender{
			leaderrunFile.within(15*time.Second, "--ttl=2s"), flock.within(time.Second), leaderrunEtcd.within(15*time.Second, "--ttl=2s"),
			etcdctl.within(6*time.Second, "--ttl=2"), leaderrunConsul.within(time.Minute, "--ttl=10s"),
			leaderrunZK.within(20*time.Second, "--ttl=4s"), consulLock.within(time.Minute),
		},
		tables: one("stopped", nanoseconds, "takeover: SIGSTOP to the leading supervisor, to the first instruction of the next child"),
	},
	{
		key: "silent", run: faultsThrough(true, silence),
		contenders: []contender{
			leaderrunEtcd.within(15*time.Second, "--ttl=2s"), etcdctl.within(6*time.Second, "--ttl=2"),
			leaderrunConsul.within(time.Minute, "--ttl=10s"), leaderrunZK.within(20*time.Second, "--ttl=4s"), consulLock.within(time.Minute),
		},
		tables: one("silent", nanoseconds, "takeover: the leader's way to the store is silent, to the first instruction of the next child"),
	},
	{
		key: "revoked", run: revocations,
		contenders: []contender{leaderrunEtcd, etcdctl.within(3 * time.Second), leaderrunConsul, leaderrunZK, consulLock},
		tables:     one("revoked", nanoseconds, "loss: the lease is revoked by hand (ZooKeeper: the node deleted), to the death of the child"),
	},
	{
		key: "cold", run: coldRuns,
		contenders: []contender{bare, leaderrunFile, flock, leaderrunEtcd, etcdctl, leaderrunConsul, leaderrunZK, consulLock},
		tables:     one("cold", nanoseconds, "acquire + `true` + release: a whole run, nobody else there"),
	},
	{
		key: "child", run: childAlone, contenders: []contender{bare},
		tables: one("child", nanoseconds, "start of the measuring child itself, in every handover and takeover above"),
	},
	{
		key: "minute", run: minutes,
		contenders: []contender{leaderrunFile, flock, leaderrunEtcd, etcdctl, leaderrunConsul, leaderrunZK, consulLock},
		tables: []table{
			memoryTable: {
				Key: "memory", Unit: octets,
				Title: "memory: all processes of a candidate but the child (what they share counts once)",
			},
			cpuTable: {
				Key: "cpu", Unit: nanoseconds,
				Title: "processor time of the same processes over a minute (-minute), user and system",
			},
			requestsTable: {Key: "requests", Unit: requests, Title: "requests to the store in that minute"},
		},
	},
	{
		key: "crowd", run: crowds,
		contenders: []contender{
			leaderrunFile.with("--ttl=" + longest + "s"), flock,
			leaderrunEtcd.with("--ttl=" + longest + "s"), etcdctl.with("--ttl=" + longest),
			leaderrunConsul.with("--ttl=" + longest + "s"), leaderrunZK.with("--ttl=" + longest + "s"), consulLock,
		},
		tables: []table{
			{Key: "crowd", Unit: nanoseconds, Title: "handover with 1, 10, 30, 100 standbys, through a proxy that counts: the leader's child ends by itself"},
			{Key: "crowd-requests", Unit: requests, Title: "requests to the store in each of those handovers, without renewals"},
		},
	},
	{
		key: "many", run: many,
		contenders: []contender{
			leaderrunEtcd.with("--ttl=" + manyTTL.String()), leaderrunConsul.with("--ttl=" + manyTTL.String()),
			leaderrunZK.with("--ttl=" + manyTTL.String()),
		},
		tables: []table{
			manyTimes:  {Key: "many", Unit: nanoseconds, Title: "many leaders and as many standbys (-many) on this host and one store, through a proxy that counts"},
			manyMemory: {Key: "many-memory", Unit: octets, Title: "memory of one of them: all its processes but the child"},
			manyRates:  {Key: "many-rates", Unit: requests, Title: "what came to the store in each tenth of a second"},
		},
	},
	{
		key: "size", run: sizes, contenders: programs,
		tables: one("size", octets, "size of the binary"),
	},
	{
		key: "version", run: versions, contenders: programs,
		tables: one("version", nanoseconds, "start: a whole run that prints the version"),
	},
}

func one(key, unit, title string) []table { return []table{{Key: key, Title: title, Unit: unit}} }

// measure returns the tables, with every contender in them, whatever failed.
func (m measurement) measure(ctx context.Context, b *bench, contenders []contender) []*table {
	var list []*table
	for _, t := range m.tables {
		for _, c := range contenders {
			t.row(c)
		}
		list = append(list, &t)
	}
	if err := m.run(ctx, b, list, contenders); err != nil {
		list[0].Error = err.Error()
	}
	return list
}
