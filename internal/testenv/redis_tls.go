package testenv

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
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	certificateName = "certificate.pem"
	privateKeyName  = "key.pem"
	certificateLife = 24 * time.Hour
)

// RedisTLS is a Redis that speaks TLS only.
type RedisTLS struct {
	*Server
	// Authority is a file with the certificate to trust.
	Authority string
}

// StartRedisTLS starts a Redis of the test's own, empty, with a certificate for 127.0.0.1 that nobody knows yet.
func StartRedisTLS(tb testing.TB, o Options) RedisTLS {
	tb.Helper()
	s := startFor(tb, redisTLS{}, o)
	return RedisTLS{s, filepath.Join(s.folder, certificateName)}
}

// redisTLS is a Redis whose port is closed to everybody who does not speak TLS.
type redisTLS struct{ redis }

func (e redisTLS) url(s *Server, user, database string) string {
	return strings.Replace(e.redis.url(s, user, database), "redis://", "rediss://", 1)
}

func (e redisTLS) prepare(s *Server) error {
	if err := e.redis.prepare(s); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Redis of a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		certificateName: {Type: "CERTIFICATE", Bytes: certificate}, privateKeyName: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name), pem.EncodeToMemory(block), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (e redisTLS) command(s *Server) (command, error) {
	c, err := e.redis.command(s)
	c.args = append(c.args, "--port", "0", "--tls-port", strconv.Itoa(s.port), "--tls-auth-clients", "no",
		"--tls-cert-file", certificateName, "--tls-key-file", privateKeyName)
	return c, err
}

func (e redisTLS) ask(s *Server) error {
	text, err := os.ReadFile(filepath.Join(s.folder, certificateName))
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: answerMax}, "tcp", s.Addr(), &tls.Config{RootCAs: trusted}) //nolint:noctx // it has a limit
	if err != nil {
		return err
	}
	return e.greet(s, func(say string, n int) (string, error) { return exchangeOver(conn, say, n) })
}
