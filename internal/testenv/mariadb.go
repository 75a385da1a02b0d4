package testenv

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// mariadb is MariaDB 10.6 or later.
type mariadb struct{}

func (mariadb) name() string         { return "MariaDB" }
func (mariadb) admin() string        { return "admin" }
func (mariadb) stop() syscall.Signal { return syscall.SIGTERM }
func (mariadb) url(s *Server, user, database string) string {
	return fmt.Sprintf("mysql://%s:%s@%s/%s", user, s.password, s.Addr(), database)
}

// mariadbSizes keep a server small, for several run at once. The size of the log is also that of the file in each data folder.
var mariadbSizes = map[string]string{
	"innodb-buffer-pool-size":    "32M",
	"innodb-log-file-size":       "32M",
	"key-buffer-size":            "1M",
	"aria-pagecache-buffer-size": "1M",
}

func (e mariadb) prepare(s *Server) error {
	binary, err := e.find("mariadbd")
	if err != nil {
		return err
	}
	install, err := e.find("mariadb-install-db")
	if err != nil {
		return err
	}
	version, err := exec.Command(binary, "--no-defaults", "--version").Output() //nolint:noctx // it answers at once
	if err != nil {
		return err
	}
	args := append([]string{"--no-defaults", "--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal"}, mariadbArgs(mariadbSizes)...)
	users := `FLUSH PRIVILEGES;
CREATE USER admin@'127.0.0.1' IDENTIFIED BY '%[1]s';
GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;
CREATE USER holdfast@'127.0.0.1' IDENTIFIED BY '%[1]s';
GRANT ALL ON ` + "`holdfast%%`" + `.* TO holdfast@'127.0.0.1';
DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';
`
	return s.copyTemplate(string(version)+strings.Join(args, " ")+users, func(s *Server) error {
		file := filepath.Join(s.folder, "users.sql")
		if err := os.WriteFile(file, fmt.Appendf(nil, users, s.password), 0o644); err != nil { // the folder is closed to others
			return err
		}
		return runTool(s, install, append(args, "--datadir="+filepath.Join(s.folder, dataName), "--extra-file="+file)...)
	})
}

func (e mariadb) command(s *Server) (command, error) {
	binary, err := e.find("mariadbd")
	settings := maps.Clone(mariadbSizes)
	maps.Copy(settings, map[string]string{
		"datadir":           filepath.Join(s.folder, dataName),
		"tmpdir":            s.folder, // a server that starts removes what others have in a common one
		"bind-address":      "127.0.0.1",
		"port":              strconv.Itoa(s.port),
		"socket":            "sock", // in the data folder: a whole path may be too long
		"pid-file":          "mariadb.pid",
		"skip-name-resolve": "1",
	})
	maps.Copy(settings, s.settings)
	return command{binary: binary, args: append([]string{"--no-defaults"}, mariadbArgs(settings)...)}, err
}

func mariadbArgs(settings map[string]string) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "--"+name+"="+settings[name])
	}
	return args
}

func (e mariadb) ask(s *Server) error { return e.execute(s, "SELECT 1") }

func (e mariadb) settle(s *Server) error { return e.createDatabase(s, owner) }

func (e mariadb) createDatabase(s *Server, name string) error {
	return e.execute(s, "CREATE DATABASE "+name)
}

// dropDatabase sends those away first who still hold a table of the database: it would wait for them.
func (e mariadb) dropDatabase(s *Server, name string) error {
	return e.execute(s, fmt.Sprintf(`DELIMITER //
BEGIN NOT ATOMIC
	DECLARE CONTINUE HANDLER FOR 1094 BEGIN END; -- gone in between
	FOR c IN (SELECT id FROM information_schema.processlist WHERE db = '%[1]s') DO
		EXECUTE IMMEDIATE CONCAT('KILL ', c.id);
	END FOR;
END//
DROP DATABASE %[1]s//
`, name))
}

// execute runs statements as the administrator.
func (e mariadb) execute(s *Server, statements string) error {
	client, err := e.find("mariadb")
	if err != nil {
		return err
	}
	return s.feed(client, statements)
}

// feed has statements run by a client of MariaDB or MySQL.
func (s *Server) feed(client, statements string) error {
	if !portTaken(s.Addr()) {
		return fmt.Errorf("nobody listens on %s", s.Addr())
	}
	return runClient(statements, []string{"MYSQL_PWD=" + s.password}, client, "--no-defaults", "--batch", "--connect-timeout=10",
		"--host=127.0.0.1", "--port="+strconv.Itoa(s.port), "--user="+s.engine.admin())
}

func (mariadb) find(program string) (string, error) {
	return lookPath(program, "MariaDB", "mariadb-server")
}
