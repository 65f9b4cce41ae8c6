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
// ctx is done: the child, known by pid and start time, and whatever bears the
// tenure's mark. A process that cleared its environment and is not the child
// is not found, and on macOS only the child is.
func EndOrphans(ctx context.Context, child int, start uint64, mark string) error {
	for pass := 1; ; pass++ {
		all, err := processes()
		if err != nil {
			return err
		}
		left := 0
		for _, p := range all {
			if p.state != 'Z' && p.pid != os.Getpid() && (p.pid == child && p.start == start || marked(p.pid, mark)) {
				left++
				_ = killDeep(p)
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(time.Duration(pass)*time.Millisecond, 20*time.Millisecond)):
		}
	}
}

func marked(pid int, mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // gone, another user's, or no /proc
	}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
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
