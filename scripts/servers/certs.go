package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ServerCert says what is wrong with the certificate that the servers show. Their
// own tools overlook it.
type ServerCert string

// What a client must refuse.
const (
	ServerCertExpired    ServerCert = "expired"
	ServerCertOtherHost  ServerCert = "other-host"
	ServerCertSelfSigned ServerCert = "self-signed"
)

// certs are the files of an authority made for one cluster, and of what it
// signed. The zero value stands for a cluster without TLS.
type certs struct {
	ca                    string
	serverCert, serverKey string
	clientCert, clientKey string
	flaw                  ServerCert
	authority             *x509.Certificate
	authorityKey          *ecdsa.PrivateKey
	user                  string
}

// newCerts writes a server's certificate for the hosts and loopback and a client's
// for the user; without a user it bears a name that etcd does not know.
func newCerts(dir string, hosts []string, user string, flaw ServerCert) (certs, error) {
	if user == "" {
		user = "leaderrun"
	}
	c := certs{
		ca:         filepath.Join(dir, "ca.pem"),
		serverCert: filepath.Join(dir, "server.pem"), serverKey: filepath.Join(dir, "server-key.pem"),
		clientCert: filepath.Join(dir, "client.pem"), clientKey: filepath.Join(dir, "client-key.pem"),
		flaw: flaw, user: user,
	}
	ca := template("leaderrun test authority", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := sign(ca, ca, nil, c.ca, "")
	if err != nil {
		return c, err
	}
	c.authority, c.authorityKey = ca, caKey
	if err := c.signServer(ca, caKey, hosts); err != nil {
		return c, err
	}
	return c, c.signClient(c.clientCert, c.clientKey, lifeOfCerts)
}

// signClient writes a client's certificate that is valid for life from now on.
func (c certs) signClient(certFile, keyFile string, life time.Duration) error {
	client := template(c.user, time.Now().UnixNano())
	client.NotAfter = time.Now().Add(life)
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	_, err := sign(client, c.authority, c.authorityKey, certFile, keyFile)
	return err
}

func (c certs) signServer(ca *x509.Certificate, caKey *ecdsa.PrivateKey, hosts []string) error {
	server := template("server", 2)
	hosts = append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	switch c.flaw {
	case "":
	case ServerCertExpired:
		server.NotAfter = time.Now().Add(-time.Minute)
	case ServerCertOtherHost:
		hosts = []string{"elsewhere.example", "192.0.2.1"}
	case ServerCertSelfSigned:
		ca, caKey = server, nil
	default:
		return fmt.Errorf("a server's certificate cannot be %q", c.flaw)
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	// etcd's gateway calls its own server, with the server's certificate.
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	_, err := sign(server, ca, caKey, c.serverCert, c.serverKey)
	return err
}

const lifeOfCerts = 24 * time.Hour

func template(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(lifeOfCerts),
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
	return &tls.Config{
		RootCAs: pool, Certificates: []tls.Certificate{pair},
		InsecureSkipVerify: c.flaw != "",
	}, nil
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
