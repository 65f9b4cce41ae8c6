package guard

import "syscall"

// macOS has no cgroups, and so nothing for a sentinel to do.

type cgroup struct{}

func makeCgroup() *cgroup { return nil }

func joinCgroup(string) *cgroup { return nil }

func findLeft(string) *cgroup { return nil }

func (*cgroup) id() string { return "" }

func (*cgroup) close() {}

func (*cgroup) name() string { return "" }

func (*cgroup) enter(*syscall.SysProcAttr) bool { return false }

func (*cgroup) end() {}

func bornDead(int) bool { return false }

func (*cgroup) renew() bool { return false }

func (*cgroup) populated() bool { return false }

func (*cgroup) remove() {}

type sentinel struct{}

func startSentinel(int, *cgroup) *sentinel { return nil }

func (*sentinel) kill() {}

func (*sentinel) wait() {}

// Watch is what a sentinel does.
func Watch(string) int { return 70 }
