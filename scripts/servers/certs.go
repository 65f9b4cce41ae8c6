package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// certs are the files of an authority made for one cluster, and of what it
// signed. The zero value stands for a cluster without TLS.
type certs struct {
	ca                    string
	serverCert, serverKey string
	clientCert, clientKey string
}

// newCerts writes a server's certificate for host and loopback and a client's for
// the user; without a user it bears a name that etcd does not know.
func newCerts(dir, host, user string) (certs, error) {
	if user == "" {
		user = "leaderrun"
	}
	c := certs{
		ca:         filepath.Join(dir, "ca.pem"),
		serverCert: filepath.Join(dir, "server.pem"), serverKey: filepath.Join(dir, "server-key.pem"),
		clientCert: filepath.Join(dir, "client.pem"), clientKey: filepath.Join(dir, "client-key.pem"),
	}
	ca := template("leaderrun test authority", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := sign(ca, ca, nil, c.ca, "")
	if err != nil {
		return c, err
	}
	server := template("etcd", 2)
	server.DNSNames = []string{"localhost"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if ip := net.ParseIP(host); ip != nil {
		server.IPAddresses = append(server.IPAddresses, ip)
	} else {
		server.DNSNames = append(server.DNSNames, host)
	}
	// etcd's gateway calls its own server, with the server's certificate.
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if _, err := sign(server, ca, caKey, c.serverCert, c.serverKey); err != nil {
		return c, err
	}
	client := template(user, 3)
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	_, err = sign(client, ca, caKey, c.clientCert, c.clientKey)
	return c, err
}

func template(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// sign makes a key and writes its certificate, signed by parent, or by itself if
// there is no parent's key. The key is written too if it has a file.
func sign(c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, certFile, keyFile string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil || keyFile == "" {
		return key, err
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(keyFile, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (c certs) clientConfig() (*tls.Config, error) {
	if c.ca == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.clientCert, c.clientKey)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// scheme is that of the URLs of servers that speak HTTP.
func (c certs) scheme() string {
	if c.ca == "" {
		return "http"
	}
	return "https"
}

// keyStore is the file in which Java wants the server's key and certificate together.
func (c certs) keyStore() string { return strings.TrimSuffix(c.serverCert, ".pem") + "-store.pem" }

func (c certs) writeKeyStore() error {
	key, err := os.ReadFile(c.serverKey)
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(c.serverCert)
	if err != nil {
		return err
	}
	return os.WriteFile(c.keyStore(), append(key, cert...), 0o600)
}
