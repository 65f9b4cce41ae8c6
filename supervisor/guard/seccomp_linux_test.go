package guard

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A filter that kills whoever asks for a priority, as that of a hardened systemd
// unit does, is no guard's death.
func TestHurryUnderSeccomp(t *testing.T) {
	if out, err := exec.Command("/proc/self/exe", "hardened").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// hardenedMain hurries under such a filter.
func hardenedMain() int {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the system call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SCHED_SETATTR, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if err != nil || errno != 0 {
		fmt.Fprintln(os.Stderr, "install the filter:", err, errno)
		return 1
	}
	hurry()
	return 0
}
