//go:build unix

package file

import "leaderrun/lock"

// remember notes what the state said, if there is one.
func (l *locker) remember(s state) {
	if s.version != 0 {
		l.store.seen.Store(l.name, state{Record: s.Record, Lock: s.Lock})
	}
}

// recall puts what was seen before in the place of a state that is gone: whoever
// deletes an election with all its files takes the lock from its holder, for whom the
// next one settles even so, and whose token is the one to go on from.
func (l *locker) recall(s *state) {
	if last, ok := l.store.seen.Load(l.name); ok && s.version == 0 {
		s.Record, s.Lock = last.(state).Record, last.(state).Lock
	}
}

// over notes that a tenure of ours is: whoever settles for it now waits for nobody.
func (l *locker) over(owner string, token lock.Token) {
	l.store.seen.Store(l.name, state{Record: lock.Record{Token: token, State: lock.Clean, Owner: owner}})
}
