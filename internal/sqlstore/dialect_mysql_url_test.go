package sqlstore

import (
	"strings"
	"testing"
)

func TestAMySQLURLIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"mysql://holdfast:p%40ss%2F@db.example:3307/shop", "tcp db.example:3307 holdfast p@ss/ shop preferred"},
		{"mysql://holdfast@127.0.0.1/shop", "tcp 127.0.0.1:3306 holdfast  shop false"},
		{"mysql://holdfast:p@[::1]:3307/shop", "tcp [::1]:3307 holdfast p shop false"},
		{"mysql://holdfast:p@localhost/shop?tls=required", "tcp localhost:3306 holdfast p shop required"},
		{"mysql://holdfast:p@10.0.0.1/shop?tls=skip-verify", "tcp 10.0.0.1:3306 holdfast p shop skip-verify"},
		{"mysql://holdfast:p@/shop?socket=/run/mysqld.sock", "unix /run/mysqld.sock holdfast p shop false"},
	} {
		cfg, err := parseMySQL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		tls := "false"
		switch {
		case cfg.AllowFallbackToPlaintext:
			tls = "preferred"
		case cfg.TLS != nil && cfg.TLS.InsecureSkipVerify:
			tls = "skip-verify"
		case cfg.TLS != nil:
			tls = "required"
		}
		if got := strings.Join([]string{cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName, tls}, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.url, got, c.want)
		}
	}
}

func TestAWrongMySQLURLIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, says string }{
		{"mysql://u:hunter2@h/", "one database"},
		{"mysql://u:hunter2@h", "one database"},
		{"mysql://u:hunter2@h/a/b", "one database"},
		{"mysql://:hunter2@h/d", "needs a user"},
		{"mysql://u:hunter2@/d", "needs a host"},
		{"mysql://u:hunter2@h:port/d", "not of the form"},
		{"mysql://u:hunter2#@h/d", "not of the form"},
		{"mysql://u:hunter2%zz@h/d", "not of the form"},
		{"mysql:u:hunter2@h/d", "not of the form"},
		{"mysql://u:hunter2@h/d?charset=utf8", `no option "charset"; it has socket, tls`},
		{"mysql://u:hunter2@h/d?tls=required&tls=false", "needs one value"},
		{"mysql://u:hunter2@h/d?tls=", "needs one value"},
		{"mysql://u:hunter2@h/d?tls=true", "false, preferred, required or skip-verify"},
		{"mysql://u:hunter2@h/d?tls_ca=/nowhere", "need tls=required"},
		{"mysql://u:hunter2@h/d?tls=required&tls_ca=/nowhere", "read tls_ca"},
		{"mysql://u:hunter2@h/d?tls=required&tls_cert=/nowhere", "read tls_cert"},
		{"mysql://u:hunter2@h/d?socket=/s", "not both"},
	} {
		_, err := parseMySQL(c.url)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error with %q", c.url, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in %q", c.url, err)
		}
	}
}
