package etcd

import (
	"context"
	"errors"
	"fmt"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

var errCompacted = errors.New("watched revision compacted")

// A watch says what to follow.
type watch struct {
	key   string
	after int64 // revision up to which all is known
	// see is told of each change, nil being a key that is gone, and of the
	// revision. It returns false when it has seen enough.
	see func(kv *pb.KeyValue, rev int64) bool
	// behind, unless nil, is told when the store was ahead of `after` as the
	// watch began. What happened in between comes too, but etcd looks after
	// such watches only every 100 ms (mvcc's unsynced watchers).
	behind func()

	created, done bool
}

// follow tells of every change of one key, in order, until ctx is done. It goes
// on over lost connections without missing a change; of changes that etcd has
// thrown away meanwhile (compaction) it tells what became of them.
//
// It is a fast path only: on a connection that swallows packets a watch never
// fails by itself (etcd #8980). Here it ends with the connection, which a
// renewal that is not answered ends.
func (s *Store) follow(ctx context.Context, w watch) {
	pause := lock.NewPause()
	for ctx.Err() == nil && !w.done {
		w.created = false
		err := s.watchOnce(ctx, &w)
		if errors.Is(err, errCompacted) {
			err = s.reread(ctx, &w)
		}
		if w.created {
			pause = lock.NewPause()
		}
		if !w.done && (err != nil || !w.created) {
			pause.Wait(ctx)
		}
	}
}

// watchOnce watches on the present connection. Its end is no error.
func (s *Store) watchOnce(ctx context.Context, w *watch) error {
	c, err := s.pool.Await(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.watch.CallBidiStream(ctx)
	stream.RequestHeader().Set("hasleader", "true") // end the watch where no leader is known
	endWith(ctx, stream)
	// An error of Send is only io.EOF; Receive has the reason.
	_ = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte(w.key), StartRevision: w.after + 1, ProgressNotify: true},
	}})
	for {
		resp, err := stream.Receive()
		switch {
		case err != nil && w.created:
			return nil
		case err != nil:
			return err
		case resp.CompactRevision != 0:
			return errCompacted
		case resp.Canceled:
			return fmt.Errorf("watch %s: %s", w.key, resp.CancelReason)
		}
		if resp.Created && resp.Header.Revision > w.after && w.behind != nil {
			w.behind()
		}
		w.created = true
		if w.tell(resp) {
			return nil
		}
	}
}

func (w *watch) tell(resp *pb.WatchResponse) (done bool) {
	for _, ev := range resp.Events {
		kv := ev.Kv
		w.after = kv.ModRevision
		if ev.Type == pb.Event_DELETE {
			kv = nil
		}
		if !w.see(kv, w.after) {
			w.done = true
			return true
		}
	}
	// A progress notification: nothing happened up to there. The header of a
	// response with events may be ahead of events that are still to come.
	if len(resp.Events) == 0 && !resp.Created {
		w.after = max(w.after, resp.Header.Revision)
	}
	return false
}

// reread finds out by a read what the watch can no longer tell.
func (s *Store) reread(ctx context.Context, w *watch) error {
	kv, rev, err := s.read(ctx, w.key)
	if err != nil {
		return err
	}
	w.after = rev
	w.done = !w.see(kv, rev)
	return nil
}
