package file

import (
	"strings"

	"golang.org/x/sys/unix"
)

// networkFS goes by the flag of file systems that are on no disk of this
// machine, and by name where a process serves one that looks local.
func networkFS(st *unix.Statfs_t) string {
	name := unix.ByteSliceToString(st.Fstypename[:])
	if st.Flags&unix.MNT_LOCAL == 0 || strings.Contains(name, "fuse") {
		return name
	}
	return ""
}

func inMemory(path string) bool {
	var st unix.Statfs_t
	err := statfs(path, &st)
	return err == nil && unix.ByteSliceToString(st.Fstypename[:]) == "tmpfs"
}

func bootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }
