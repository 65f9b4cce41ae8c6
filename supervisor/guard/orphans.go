//go:build unix

package guard

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"time"
)

// MarkVariable is the environment variable by which EndOrphans knows the
// processes of a tenure: marks, separated by spaces, of every tenure that a
// process is in.
const MarkVariable = "LEADERRUN_WITHIN"

// EndOrphans kills what a tenure on this host left running because its
// supervisor and its guard were both killed, and returns once it is dead or
// ctx is done: what is in its cgroup, the child, known by pid and start time, and
// whatever bears the tenure's mark. The sentinel may be late. Without a cgroup a
// process that cleared its environment and is not the child is not found, and on
// macOS only the child is.
func EndOrphans(ctx context.Context, cgroup string, child int, start uint64, mark string) error {
	group := findLeft(cgroup)
	defer group.close()
	for pass := 1; ; pass++ {
		group.end()
		all, err := processes()
		if err != nil {
			return err
		}
		left := 0
		for _, p := range all {
			if p.pid != os.Getpid() && !dead(p) && (p.pid == child && p.start == start || marked(p.pid, mark)) {
				left++
				_ = killDeep(p)
			}
		}
		if left == 0 && !group.populated() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(time.Duration(pass)*time.Millisecond, 20*time.Millisecond)):
		}
	}
}

// lastMark is the mark of the innermost tenure in an environment.
func lastMark(env []string) (mark string) {
	for _, kv := range env {
		if marks, ok := strings.CutPrefix(kv, MarkVariable+"="); ok {
			mark = marks[strings.LastIndexByte(marks, ' ')+1:]
		}
	}
	return mark
}

// dead reports whether nothing runs in a process any more. Of a process whose
// main thread alone has ended the kernel says that it is a zombie.
func dead(p process) bool {
	if p.state != 'Z' {
		return false
	}
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(p.pid) + "/task")
	return err != nil || len(threads) <= 1
}

func marked(pid int, mark string) bool {
	for kv := range bytes.SplitSeq(environ(pid), []byte{0}) {
		marks, ok := strings.CutPrefix(string(kv), MarkVariable+"=")
		if !ok {
			continue
		}
		for m := range strings.FieldsSeq(marks) {
			if m == mark {
				return true
			}
		}
	}
	return false
}

// environ returns the environment that a process was started with; nothing if
// it is gone, another user's, or there is no /proc. When its main thread has
// ended, the others still have it.
func environ(pid int) []byte {
	dir := "/proc/" + strconv.Itoa(pid)
	env, err := os.ReadFile(dir + "/environ")
	if err != nil || len(env) > 0 {
		return env
	}
	threads, _ := os.ReadDir(dir + "/task")
	for _, t := range threads {
		if env, err = os.ReadFile(dir + "/task/" + t.Name() + "/environ"); err == nil && len(env) > 0 {
			return env
		}
	}
	return nil
}
