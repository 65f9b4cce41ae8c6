package zk

import (
	"context"
	"io"
	"net"
	"sync/atomic"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A dialer makes connections as the settings say. It reads the files anew each
// time: certificates and passwords are replaced while a candidate waits.
type dialer struct {
	settings  lock.Settings
	transport transport.Dialer
	answered  *atomic.Bool // some server has, so that TLS is as it must be
}

func newDialer(s lock.Settings) dialer {
	return dialer{s, transport.Dialer{Store: storeName, Settings: s, SpeaksPlain: speaksPlain}, new(atomic.Bool)}
}

// check reads what dial will read, so that a wrong path is found at once.
func (d dialer) check() error {
	if err := d.transport.Check(); err != nil {
		return err
	}
	_, err := d.password()
	return err
}

func (d dialer) password() (string, error) {
	if d.settings.User == "" {
		return "", nil
	}
	return lock.ReadSecret("--password-file", d.settings.PasswordFile)
}

// dial connects, says hello and logs in. errExpired is about the session of h.
func (d dialer) dial(ctx context.Context, endpoint string, reached func(), h hello) (*conn, error) {
	password, err := d.password()
	if err != nil {
		return nil, err
	}
	link, err := d.transport.Dial(ctx, endpoint, reached)
	if err != nil {
		return nil, err
	}
	w, err := h.say(ctx, link)
	if err != nil {
		err = d.explain(ctx, endpoint, link, err)
		_ = link.Close()
		return nil, err
	}
	d.answered.Store(true)
	c := newConn(endpoint, d.settings.User, newWire(link, w.raw, h.seen), w)
	c.fresh.Store(h.session == 0)
	if err := c.login(ctx, password); err != nil {
		err = c.Judge(ctx, err).Err
		c.Close(false)
		return nil, err
	}
	return c, nil
}

// speaksPlain asks what every server answers without TLS, if only that it may
// not say.
func speaksPlain(c net.Conn) bool {
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return false
	}
	b := make([]byte, 4)
	_, err := io.ReadFull(c, b)
	for _, char := range b {
		if char < ' ' || char > '~' {
			return false
		}
	}
	return err == nil
}
