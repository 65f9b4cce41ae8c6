package guard

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Left returns for how much longer the guard that this process lives under lets it
// live, read off that guard's own timer in /proc. It is false where there is no guard
// above, or this process may not look at it (it changed its user).
func Left() (left time.Duration, ok bool) {
	for pid := os.Getppid(); pid > 1; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// pid (name) state ppid: proc_pid_stat(5); the name may hold anything.
		end := bytes.LastIndexByte(stat, ')')
		if err != nil || end < 0 {
			return 0, false
		}
		if bytes.HasSuffix(stat[:end], []byte("("+guardName)) {
			return timerLeft(pid)
		}
		fields := strings.Fields(string(stat[end+1:]))
		if len(fields) < 2 {
			return 0, false
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			return 0, false
		}
	}
	return 0, false
}

// timerLeft reads it_value of the process's only timerfd: proc_pid_fdinfo(5).
func timerLeft(pid int) (time.Duration, bool) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return 0, false
	}
	for _, name := range files {
		info, _ := os.ReadFile(name)
		_, after, found := strings.Cut(string(info), "\nit_value: ")
		var seconds, nanoseconds int64
		if n, _ := fmt.Sscanf(after, "(%d, %d)", &seconds, &nanoseconds); found && n == 2 {
			return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), true
		}
	}
	return 0, false
}
