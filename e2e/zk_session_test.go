//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// closeSession ends a session of somebody else. There is no command for that, but
// the session's password is computed from its id by a generator and a constant that
// every ZooKeeper has (SessionTrackerImpl, ZooKeeperServer.superSecret): with it, one
// moves in and says goodbye.
//
// Its owner takes it back at once if we are slow.
func (s *store) closeSession(id int64) {
	s.t.Helper()
	waitFor(s.t, "the end of a session", patient, func() bool {
		gone, err := s.tryToClose(id)
		return err == nil && gone
	})
}

func (s *store) tryToClose(id int64) (gone bool, err error) {
	conn, err := net.DialTimeout("tcp", s.Endpoints()[0], patient)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
		return false, err
	}
	connect := binary.BigEndian.AppendUint32(nil, 0)         // version of the protocol
	connect = binary.BigEndian.AppendUint64(connect, 0)      // no transaction was seen
	connect = binary.BigEndian.AppendUint32(connect, 20_000) // time-out
	connect = binary.BigEndian.AppendUint64(connect, uint64(id))
	connect = binary.BigEndian.AppendUint32(connect, 16)
	connect = append(connect, zkSessionPassword(id)...)
	welcome, err := zkAsk(conn, connect)
	if err != nil {
		return false, err
	}
	if len(welcome) < 16 || int64(binary.BigEndian.Uint64(welcome[8:])) != id {
		return true, nil // an earlier try was heard, though not answered
	}
	const closeSession = -11
	request := binary.BigEndian.AppendUint32(nil, 1)
	_, err = zkAsk(conn, binary.BigEndian.AppendUint32(request, 1<<32+closeSession))
	return err == nil, err
}

func zkAsk(conn net.Conn, packet []byte) ([]byte, error) {
	packet = append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	var length uint32
	if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	if length > 1<<16 {
		return nil, errors.New("no packet of ZooKeeper")
	}
	answer := make([]byte, length)
	_, err := io.ReadFull(conn, answer)
	return answer, err
}

// zkSessionPassword is java.util.Random(id ^ superSecret).nextBytes(16).
func zkSessionPassword(id int64) []byte {
	const superSecret, multiplier, mask = 0xB3415C00, 0x5DEECE66D, 1<<48 - 1
	seed := (uint64(id) ^ superSecret ^ multiplier) & mask
	var password []byte
	for range 4 {
		seed = (seed*multiplier + 0xB) & mask
		password = binary.LittleEndian.AppendUint32(password, uint32(seed>>16))
	}
	return password
}
