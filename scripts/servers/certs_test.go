package servers

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// Each store shows the flawed certificate, refuses a client without one, and goes
// on serving its own tools.
func TestServerCerts(t *testing.T) {
	const needsCert = "certificate" // Java's alert differs from Go's
	for flaw, want := range map[ServerCert]string{
		"":                   "",
		ServerCertExpired:    "expired",
		ServerCertOtherHost:  "not 127.0.0.1",
		ServerCertSelfSigned: "unknown authority",
	} {
		for name, start := range map[string]func(t *testing.T) (*cluster, error){
			"etcd": func(t *testing.T) (*cluster, error) {
				t.Helper()
				e := StartEtcd(t, EtcdOptions{TLS: true, ServerCert: flaw})
				_, err := e.Ctl("put", "a", "b")
				return e.cluster, err
			},
			"consul": func(t *testing.T) (*cluster, error) {
				t.Helper()
				c := StartConsul(t, ConsulOptions{TLS: true, ServerCert: flaw})
				_, err := c.Ctl("kv", "put", "a", "b")
				return c.cluster, err
			},
			"zookeeper": func(t *testing.T) (*cluster, error) {
				t.Helper()
				z := StartZooKeeper(t, ZooKeeperOptions{TLS: true, ServerCert: flaw})
				putZK(t, z, "/a")
				return z.cluster, nil
			},
		} {
			t.Run(name+" "+string(flaw), func(t *testing.T) {
				c, err := start(t)
				must(t, err)
				cfg, err := c.certs.clientConfig()
				must(t, err)
				cfg.InsecureSkipVerify = false
				expectTLS(t, c.Endpoints()[0], cfg, want)
				if flaw == "" {
					cfg.Certificates = nil
					expectTLS(t, c.Endpoints()[0], cfg, needsCert)
				}
			})
		}
	}
}

// expectTLS shakes hands and waits for what a server of TLS 1.3 says about the
// client's certificate, which comes after: an answer or silence is consent.
func expectTLS(t *testing.T, addr string, cfg *tls.Config, want string) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err == nil {
		defer conn.Close() //nolint:errcheck // nothing was written that matters
		err = firstWord(conn, want != "")
	}
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, though %s", want)
	case err != nil && !strings.Contains(err.Error(), want):
		t.Errorf("error %v, not about %q", err, want)
	}
}

// firstWord asks what ZooKeeper answers and the others wait for the end of.
func firstWord(conn *tls.Conn, patient bool) error {
	wait := 200 * time.Millisecond
	if patient {
		wait = 10 * time.Second
	}
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
