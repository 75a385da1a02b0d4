package testenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mysql is MySQL 8 or later. It is MariaDB's cousin, with other tools, other users and no compound statement outside a procedure.
type mysql struct{ mariadb }

func (mysql) name() string { return "MySQL" }

// OnMySQL reports whether tests that ask for MariaDB get MySQL: HOLDFAST_TEST_MYSQL=1. Debian's releases have no MySQL, so it is
// asked for.
func OnMySQL() bool { return os.Getenv("HOLDFAST_TEST_MYSQL") != "" }

// mariadbOrMySQL is the server of the tests that ask for MariaDB.
func mariadbOrMySQL() databases {
	if OnMySQL() {
		return mysql{}
	}
	return mariadb{}
}

// mysqlSizes keep a server small, for several run at once.
var mysqlSizes = map[string]string{
	"innodb-buffer-pool-size":    "32M",
	"innodb-redo-log-capacity":   "64M",
	"innodb-data-file-path":      "ibdata1:12M:autoextend",
	"key-buffer-size":            "1M",
	"mysqlx":                     "OFF",
	"secure-file-priv":           "NULL",
	"log-error-suppression-list": "MY-010453",
}

func (e mysql) prepare(s *Server) error {
	binary, err := e.find("mysqld")
	if err != nil {
		return err
	}
	args := append([]string{"--no-defaults"}, mariadbArgs(mysqlSizes)...)
	users := `CREATE USER admin@'127.0.0.1' IDENTIFIED BY '%[1]s';
GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;
CREATE USER holdfast@'127.0.0.1' IDENTIFIED BY '%[1]s';
GRANT ALL ON ` + "`holdfast%%`" + `.* TO holdfast@'127.0.0.1';
`
	return s.copyTemplate(binary+strings.Join(args, " ")+users, func(s *Server) error {
		file := filepath.Join(s.folder, "users.sql")
		if err := os.WriteFile(file, fmt.Appendf(nil, users, s.password), 0o644); err != nil { // the folder is closed to others
			return err
		}
		return runTool(s, binary, append(args, "--initialize-insecure", "--datadir="+filepath.Join(s.folder, dataName), "--init-file="+file)...)
	})
}

func (e mysql) command(s *Server) (command, error) {
	binary, err := e.find("mysqld")
	settings := maps.Clone(mysqlSizes)
	maps.Copy(settings, map[string]string{
		"datadir":           filepath.Join(s.folder, dataName),
		"tmpdir":            s.folder, // a server that starts removes what others have in a common one
		"bind-address":      "127.0.0.1",
		"port":              strconv.Itoa(s.port),
		"socket":            filepath.Join(s.folder, "sock"),
		"pid-file":          filepath.Join(s.folder, "mysql.pid"),
		"skip-name-resolve": "1",
	})
	maps.Copy(settings, s.settings)
	return command{binary: binary, args: append([]string{"--no-defaults"}, mariadbArgs(settings)...)}, err
}

func (e mysql) ask(s *Server) error { return e.execute(s, "SELECT 1") }

func (e mysql) settle(s *Server) error { return e.createDatabase(s, owner) }

func (e mysql) createDatabase(s *Server, name string) error {
	return e.execute(s, "CREATE DATABASE "+name)
}

// dropDatabase gives up on those who still hold a table of the database: MySQL would wait for them for a year.
func (e mysql) dropDatabase(s *Server, name string) error {
	return e.execute(s, "SET lock_wait_timeout = 10; DROP DATABASE "+name)
}

func (e mysql) execute(s *Server, statements string) error {
	client, err := e.find("mysql")
	if err != nil {
		return err
	}
	return s.feed(client, statements)
}

func (mysql) find(program string) (string, error) {
	return lookPath(program, "MySQL", "mysql-server")
}
