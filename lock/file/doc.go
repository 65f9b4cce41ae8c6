// Package file is the store of one host: candidates meet in a directory, and
// the lock is a flock(2) on DIR/NAME.lock.
//
// What it guarantees: the kernel gives the lock to one open file at a time.
// Supervisor and guard share that open file, so the lock is free only when
// both are gone, or one of them unlocked it because the tree is dead; then the
// next candidate has it within microseconds, nobody polls. A holder that is
// frozen together with its guard keeps it for its TTL and two seconds, if
// somebody waits (on Linux; elsewhere until it goes on or dies). Fencing
// tokens rise across reboots and power failures for as long as DIR/NAME.d is
// kept.
//
// What it does not: it elects only among processes that see the directory on
// the same kernel, so network file systems are refused; in a file system in
// memory the tokens begin anew with every boot. Deleting or replacing the lock
// file takes the lock from its holder, who notices within a tenth of a second;
// the next one waits until that tree is dead, but only two seconds. All
// candidates of an election run as one user, or as root.
//
// Beside the lock, DIR/NAME.d holds the state of the election as numbered
// files (see dir), a request to the holder and, for people, who stands by (see place).
package file
