// Package etcdpb holds the messages of etcd's gRPC interface that leaderrun
// speaks, made from etcd.proto with
//
//	protoc --go_out=. --go_opt=paths=source_relative etcd.proto
//
// (protoc 3.21, protoc-gen-go 1.36). etcd's own package of them takes half of what a
// start of leaderrun costs: it registers every message of the server, and what
// those are annotated with, in each process, the guard too.
package etcdpb
