//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tcpEstablished is a connection's state in /proc/net/tcp (net/tcp_states.h).
const tcpEstablished = "01"

// talksTo returns the addresses to which a process has a connection.
func talksTo(t testing.TB, pid int) []string {
	t.Helper()
	mine := socketsOf(pid)
	var peers []string
	for line := range strings.Lines(readFile(fmt.Sprintf("/proc/%d/net/tcp", pid))) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != tcpEstablished || !slices.Contains(mine, "socket:["+f[9]+"]") {
			continue
		}
		peers = append(peers, hexAddr(t, f[2]))
	}
	return peers
}

func socketsOf(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // of a process that has ended there are none
	var sockets []string
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			sockets = append(sockets, target)
		}
	}
	return sockets
}

// hexAddr reads 0100007F:094B, an address as the processor has it in memory.
func hexAddr(t testing.TB, s string) string {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(host, 16, 32)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err1 != nil || err2 != nil {
		t.Fatalf("%q is no address", s)
	}
	addr := netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(h))))
	return net.JoinHostPort(addr.String(), strconv.FormatUint(p, 10))
}
