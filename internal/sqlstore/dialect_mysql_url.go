package sqlstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

const mysqlPort = "3306"

// mysqlOptions are what may stand behind the question mark of a MySQL URL.
var mysqlOptions = []string{"socket", "tls", "tls_ca", "tls_cert", "tls_key", "tls_server_name"}

// parseMySQL reads mysql://USER:PASSWORD@HOST:PORT/DATABASE and its options:
//
//	tls=false|preferred|required|skip-verify   preferred (encrypted where the server can, and unverified) on any but this machine
//	tls_ca, tls_cert, tls_key                  files: who signed the server's certificate, and the client's own
//	tls_server_name                            the name in the server's certificate, where it is not HOST
//	socket                                     the path of a Unix socket, in place of HOST and PORT
//
// No error shows the URL, or any part of it that may hold the password.
func parseMySQL(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "mysql" || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("not of the form mysql://USER:PASSWORD@HOST:PORT/DATABASE (characters like @ : / ? # in a password are written %40 %3A …)")
	}
	cfg := mysql.NewConfig()
	cfg.Logger = &mysql.NopLogger{} // what it would say comes back as errors too
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	switch {
	case cfg.User == "":
		return nil, errors.New("a MySQL URL needs a user")
	case cfg.DBName == "" || strings.Contains(cfg.DBName, "/"):
		return nil, errors.New("a MySQL URL needs one database behind the host")
	}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the options of a MySQL URL cannot be read")
	}
	for name, values := range options {
		if !slices.Contains(mysqlOptions, name) {
			return nil, fmt.Errorf("a MySQL URL has no option %q; it has %s", name, strings.Join(mysqlOptions, ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return nil, fmt.Errorf("the option %s of a MySQL URL needs one value", name)
		}
	}
	if path := options.Get("socket"); path != "" {
		if u.Host != "" {
			return nil, errors.New("a MySQL URL has a host or a socket, not both")
		}
		cfg.Net, cfg.Addr = "unix", path
	} else {
		if u.Hostname() == "" {
			return nil, errors.New("a MySQL URL needs a host, or a socket")
		}
		port := u.Port()
		if port == "" {
			port = mysqlPort
		}
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	}
	return cfg, mysqlTLS(cfg, u.Hostname(), options)
}

func mysqlTLS(cfg *mysql.Config, host string, options url.Values) error {
	mode := options.Get("tls")
	if mode == "" {
		mode = "preferred"
		if ip := net.ParseIP(host); host == "" || host == "localhost" || ip != nil && ip.IsLoopback() {
			mode = "false"
		}
	}
	own := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if name := options.Get("tls_server_name"); name != "" {
		own.ServerName = name
	}
	files := options.Has("tls_ca") || options.Has("tls_cert") || options.Has("tls_key") || options.Has("tls_server_name")
	switch mode {
	case "required":
	case "skip-verify":
		own.InsecureSkipVerify = true // as the operator says
	case "preferred":
		own.InsecureSkipVerify = true // better than none, and the operator can ask for more
		cfg.AllowFallbackToPlaintext = true
	case "false":
		own = nil
	default:
		return errors.New("the option tls of a MySQL URL is false, preferred, required or skip-verify")
	}
	if files && mode != "required" {
		return errors.New("the files and names of a MySQL URL's TLS need tls=required")
	}
	cfg.TLS = own
	if ca := options.Get("tls_ca"); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("read tls_ca: %w", err)
		}
		own.RootCAs = x509.NewCertPool()
		if !own.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls_ca: no certificate is in %s", ca)
		}
	}
	if cert, key := options.Get("tls_cert"), options.Get("tls_key"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("read tls_cert and tls_key: %w", err)
		}
		own.Certificates = []tls.Certificate{pair}
	}
	return nil
}
