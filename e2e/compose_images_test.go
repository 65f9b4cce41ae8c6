//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"leaderrun/scripts/servers"
)

// A standIn is an image that is made of this machine's files where the one that
// deploy/compose.yaml names is not there: what it takes from its environment and its
// command line is what the official one does.
type standIn struct {
	name   string
	files  string // a script that fills the directory it runs in
	config []string
}

// withShell lets busybox be all of a system's programs.
const withShell = `mkdir -p bin tmp; cp "$(command -v busybox)" bin/busybox; bin/busybox --install bin
`

var standIns = []standIn{
	{name: "busybox:1.37", files: withShell, config: []string{`CMD ["sh"]`}},
	{
		name:  "quay.io/coreos/etcd:v3.6.16",
		files: `mkdir -p usr/local/bin; cp "$BIN/etcd" "$BIN/etcdctl" usr/local/bin`, config: []string{`CMD ["/usr/local/bin/etcd"]`},
	},
	{
		name: "hashicorp/consul:1.20",
		files: withShell + `cp "$BIN/consul" bin
cat >docker-entrypoint.sh <<'END'
#!/bin/sh
[ "$1" != agent ] || { shift; set -- agent -data-dir=/consul/data "$@"; }
exec consul "$@"
END
`, config: []string{`ENTRYPOINT ["/docker-entrypoint.sh"]`, `VOLUME /consul/data`},
	},
	{
		name: "zookeeper:3.8",
		files: withShell + `java=$(readlink -f "$(command -v java)") home=${java%/bin/java}
mkdir -p usr/share conf data datalog
find -L "$home/bin" "$home/lib" "$home/conf" -type f | xargs cp -L --parents -t .
cp -a /usr/share/java usr/share
ldd "$java" "$home"/lib/*.so "$home"/lib/server/*.so | grep -o '/[^ :]*' | grep -v "^$home" | sort -u | xargs cp -L --parents -t .
cat >docker-entrypoint.sh <<END
#!/bin/sh
{
	printf '%s\n' dataDir=/data dataLogDir=/datalog initLimit=5 syncLimit=2 "tickTime=\${ZOO_TICK_TIME:-2000}"
	printf '%s\n' \$ZOO_SERVERS
} >/conf/zoo.cfg
echo "\$ZOO_MY_ID" >/data/myid
exec $java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.jmx.log4j.disable=true \
	-cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
END
`, config: []string{`ENTRYPOINT ["/docker-entrypoint.sh"]`, `VOLUME /data`, `VOLUME /datalog`},
	},
}

// needsImage makes an image that ends with the test, unless it is there.
func needsImage(t testing.TB, s standIn) {
	t.Helper()
	if _, err := docker("image", "inspect", s.name); err == nil {
		return
	}
	root, err := servers.Root()
	must(t, err)
	dir := t.TempDir()
	fill := exec.Command("sh", "-euc", s.files+"\nchmod -f +x docker-entrypoint.sh || :")
	fill.Dir, fill.Env = dir, append(os.Environ(), "BIN="+filepath.Join(root, ".cache", "bin"))
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("files of %s: %v\n%s", s.name, err, out)
	}
	argv := []string{"import"}
	for _, c := range s.config {
		argv = append(argv, "--change", c)
	}
	tar, load := exec.Command("tar", "-C", dir, "-c", "."), exec.Command("docker", append(argv, "-", s.name)...)
	load.Stdin, err = tar.StdoutPipe()
	must(t, err)
	must(t, tar.Start())
	out, err := load.CombinedOutput()
	if err = errors.Join(err, tar.Wait()); err != nil {
		t.Fatalf("import %s: %v\n%s", s.name, err, out)
	}
	t.Cleanup(func() { mustDocker(t, "rmi", "--force", s.name) })
}
