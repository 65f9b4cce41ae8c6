package guard

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// BlockTTOU blocks SIGTTOU in the calling thread, which the caller has locked:
// the kernel then lets a background process write to a terminal with tostop,
// and set its foreground group, instead of stopping it.
func BlockTTOU() (restore func()) {
	var ttou, old unix.Sigset_t
	bits := 8 * int(unsafe.Sizeof(ttou.Val[0]))
	n := int(unix.SIGTTOU) - 1
	ttou.Val[n/bits] |= 1 << (n % bits)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &ttou, &old); err != nil {
		return func() {}
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }
}

// DefaultTSTP lets SIGTSTP stop this process until catch is called. It goes
// around signal.Reset, after which Go's handler stays installed and swallows
// the signal (runtime.sigdisable).
func DefaultTSTP() (catch func()) {
	// struct sigaction as the kernel has it; its layout differs between
	// machines, but all zero is SIG_DFL on each, and what was there is only
	// put back.
	type action [64]byte
	const maskSize = 8
	var dfl, old action
	_, _, errno := unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP),
		uintptr(unsafe.Pointer(&dfl)), uintptr(unsafe.Pointer(&old)), maskSize, 0, 0)
	if errno != 0 {
		return func() {}
	}
	return func() {
		_, _, _ = unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP),
			uintptr(unsafe.Pointer(&old)), 0, maskSize, 0, 0)
	}
}
