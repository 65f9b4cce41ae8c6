package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

func (c *cluster) makeDir() (err error) {
	if c.dir != "" {
		// Nodes run in it, so that a relative path would be another one there.
		if c.dir, err = filepath.Abs(c.dir); err != nil {
			return err
		}
		// Its members would look for each other at the ports they had.
		if _, err := os.Stat(filepath.Join(c.dir, "n0")); err == nil {
			return fmt.Errorf("%s holds the data of an earlier cluster: remove it", c.dir)
		}
		return os.MkdirAll(c.dir, 0o700)
	}
	c.ownDir = true
	c.dir, err = os.MkdirTemp("", "leaderrun-"+c.name+"-")
	return err
}

// makeNodes fixes names, directories and addresses, which stay the same over restarts.
func (c *cluster) makeNodes() error {
	total := c.shape.nodes + c.clients
	for i := range total {
		name := "n" + strconv.Itoa(i)
		if i >= c.shape.nodes {
			name = "client" + strconv.Itoa(i-c.shape.nodes)
		}
		n := &node{name: name, data: filepath.Join(c.dir, name), log: filepath.Join(c.dir, name+".log")}
		if err := os.MkdirAll(n.data, 0o700); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	if c.disk > 0 {
		if err := c.mountDisks(); err != nil {
			return err
		}
	}
	place := c.placeOnPorts
	if c.hosts {
		place = c.placeOnHosts
	}
	if err := place(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		n.addr = n.at(0)
	}
	return nil
}

func (c *cluster) placeOnPorts() error {
	each := len(c.ports)
	ports, free, err := reservePorts(c.host, len(c.nodes)*each)
	if err != nil {
		return err
	}
	c.free = free
	for i, n := range c.nodes {
		n.host, n.peerHost, n.ports = c.host, "127.0.0.1", ports[i*each:(i+1)*each]
	}
	return nil
}

func (c *cluster) placeOnHosts() (err error) {
	if c.lan, err = newLan(len(c.nodes)); err != nil {
		return err
	}
	for i, n := range c.nodes {
		n.ns = c.lan.hosts[i]
		n.host, n.peerHost, n.ports = n.ns.here, n.ns.here, c.ports
	}
	return nil
}

func (c *cluster) makeCerts(user string, flaw ServerCert) (err error) {
	var hosts []string
	for _, n := range c.nodes {
		hosts = append(hosts, n.host)
	}
	c.certs, err = newCerts(c.dir, hosts, user, flaw)
	return err
}
