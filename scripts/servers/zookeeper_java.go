package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Debian's jars. zookeeper.jar names most others in its manifest, except the logger
// and, for TLS, Netty's codecs.
var zkJars = []string{"zookeeper.jar", "slf4j-simple.jar", "netty-codec.jar", "netty-resolver.jar"}

const jarDir = "/usr/share/java"

// java is the start of the command line: a JVM that starts fast and stays small. It
// writes nothing outside the node's directory (without UsePerfData), for there is
// nobody to remove it after a SIGKILL.
func java() []string {
	path := ""
	for _, jar := range zkJars {
		path += filepath.Join(jarDir, jar) + ":"
	}
	return []string{
		"java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Djava.net.preferIPv4Stack=true",
		"-Dzookeeper.jmx.log4j.disable=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", path,
	}
}

// findZooKeeper looks for what only the machine's package manager can install.
func findZooKeeper() error {
	if _, err := exec.LookPath("java"); err != nil {
		return fmt.Errorf("%w: apt-get install default-jre-headless", err)
	}
	for _, jar := range zkJars {
		if _, err := os.Stat(filepath.Join(jarDir, jar)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("no %s in %s: apt-get install libzookeeper-java", jar, jarDir)
		} else if err != nil {
			return err
		}
	}
	return nil
}
