package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports come from below the range that the kernel hands out by itself (32768 and
// up on Linux, 49152 on macOS). A port from within would do for a start, but while
// its server is down any outgoing connection may take it, and the restart fails.
const firstPort, lastPort = 20000, 31999

// A port is reserved by a UDP socket so far below it: not of its own number, at
// which Consul gossips.
const reservation = 12000

// reservePorts finds n TCP ports on which nothing listens at host, and keeps other
// test processes off them until release is called, also while their server is
// down. The reservation is a UDP socket of another number: the kernel ends it
// with the process, and no server wants it.
//
// Programs that know nothing of this may still take one: callers try again.
func reservePorts(host string, n int) (ports []int, release func(), err error) {
	var held []net.PacketConn
	release = func() {
		for _, c := range held {
			_ = c.Close()
		}
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		c, err := net.ListenPacket("udp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port-reservation)))
		if err != nil {
			continue // another test's
		}
		if !free(host, port) || !free("127.0.0.1", port) {
			_ = c.Close()
			continue
		}
		held = append(held, c)
		ports = append(ports, port)
		if len(ports) == n {
			return ports, release, nil
		}
	}
	release()
	if !isLocal(host) {
		return nil, nil, fmt.Errorf("find free ports: %s is no address of this host", host)
	}
	return nil, nil, errors.New("find free ports: none left")
}

func free(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func isLocal(host string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
