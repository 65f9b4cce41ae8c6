package servers

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Give makes a node unless it is there, and leaves it to one user with these
// permissions: letters of cdrwa.
func (z *ZooKeeper) Give(node, letters, user, password string) error {
	conn, err := z.Admin()
	if err != nil {
		return err
	}
	defer conn.Close()
	var perms int32
	for letter, perm := range map[string]int32{"c": zk.PermCreate, "d": zk.PermDelete, "r": zk.PermRead, "w": zk.PermWrite, "a": zk.PermAdmin} {
		if strings.Contains(letters, letter) {
			perms |= perm
		}
	}
	acl := zk.DigestACL(perms, user, password)
	_, err = conn.Create(node, nil, 0, acl)
	if errors.Is(err, zk.ErrNodeExists) {
		_, err = conn.SetACL(node, acl, -1)
	}
	if err != nil {
		return fmt.Errorf("give %s: %w", node, err)
	}
	return nil
}

// Nodes returns every node below one, each with its path; none if that is not there.
func (z *ZooKeeper) Nodes(node string) ([]string, error) {
	conn, err := z.Admin()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return below(conn, node)
}

func below(conn *zk.Conn, node string) ([]string, error) {
	names, _, err := conn.Children(node)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	var all []string
	for _, name := range names {
		child := path.Join(node, name)
		more, moreErr := below(conn, child)
		all = append(append(all, child), more...)
		err = errors.Join(err, moreErr)
	}
	return all, err
}
