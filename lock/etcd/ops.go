package etcd

import pb "leaderrun/lock/etcd/etcdpb"

// Parts of a transaction. One that only reads is a linearizable read.

func get(key string) *pb.RequestOp { return rangeOp(&pb.RangeRequest{Key: []byte(key)}) }

// first is the oldest key below a prefix.
func first(prefix string) *pb.RequestOp {
	return rangeOp(&pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: prefixEnd(prefix), Limit: 1,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_ASCEND,
	})
}

// last is the youngest key below a prefix, of those created up to a revision; 0 is
// any.
func last(prefix string, created int64) *pb.RequestOp {
	return rangeOp(&pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: prefixEnd(prefix), Limit: 1, MaxCreateRevision: created,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_DESCEND,
	})
}

// all are the keys below a prefix, the oldest first.
func all(prefix string) *pb.RequestOp {
	return rangeOp(&pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: prefixEnd(prefix),
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_ASCEND,
	})
}

func rangeOp(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func put(key string, value []byte, lease leaseID) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
		RequestPut: &pb.PutRequest{Key: []byte(key), Value: value, Lease: int64(lease)},
	}}
}

func remove(key string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)},
	}}
}

// created holds for a key of that create revision; 0 is no key.
func created(key string, rev int64) *pb.Compare {
	return &pb.Compare{
		Key: []byte(key), Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: rev},
	}
}

// noneBefore holds if no key below a prefix was created before that revision.
func noneBefore(prefix string, rev int64) *pb.Compare {
	return &pb.Compare{
		Key: []byte(prefix), RangeEnd: prefixEnd(prefix), Target: pb.Compare_CREATE, Result: pb.Compare_GREATER,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: rev - 1},
	}
}

// modified holds for a key of that mod revision; 0 is no key.
func modified(key string, rev int64) *pb.Compare {
	return &pb.Compare{
		Key: []byte(key), Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_ModRevision{ModRevision: rev},
	}
}

// leased holds for a key that hangs on that lease.
func leased(key string, id leaseID) *pb.Compare {
	return &pb.Compare{
		Key: []byte(key), Target: pb.Compare_LEASE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_Lease{Lease: int64(id)},
	}
}

// prefixEnd is the first key after all that begin with the prefix, whose last
// byte is not 0xff.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}
