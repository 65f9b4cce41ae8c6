package lock

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// CanonicalHosts writes addresses as all candidates of an election write them:
// in lower case, with a port, sorted, each once. from is the setting that they
// come from. Errors are of kind ErrConfig.
func CanonicalHosts(from string, hosts []string, defaultPort string) ([]string, error) {
	var out []string
	for _, h := range hosts {
		if strings.Contains(h, "@") { // not shown: it could be a password
			return nil, fmt.Errorf("%w: %s: a user or password does not belong there: write HOST:PORT", ErrConfig, from)
		}
		full, err := canonicalHost(h, defaultPort)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: host %q: %w", ErrConfig, from, h, err)
		}
		out = append(out, full)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func canonicalHost(h, defaultPort string) (string, error) {
	h = strings.ToLower(h)
	if !strings.Contains(h, ":") {
		h += ":" + defaultPort
	}
	host, port, err := net.SplitHostPort(h)
	if err != nil || host == "" || strings.ContainsAny(host, "/ ") {
		return "", fmt.Errorf("write HOST:PORT, and an IPv6 address as [ADDRESS]:PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("write HOST:PORT with a port from 1 to 65535")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return net.JoinHostPort(host, port), nil
}
