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

// postgres is PostgreSQL 13 or later.
type postgres struct{}

func (postgres) name() string         { return "PostgreSQL" }
func (postgres) admin() string        { return "postgres" }
func (postgres) stop() syscall.Signal { return syscall.SIGINT } // "fast": clients are sent away
func (postgres) url(s *Server, user, database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, s.password, s.Addr(), database)
}

func (e postgres) prepare(s *Server) error {
	initdb, err := e.find("initdb")
	if err != nil {
		return err
	}
	version, err := exec.Command(initdb, "--version").Output() //nolint:noctx // it answers at once
	if err != nil {
		return err
	}
	args := []string{"--username=" + e.admin(), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"}
	if postgresMajor(string(version)) >= 15 {
		// As the shops have it: text compares like words in a dictionary unless a column says otherwise.
		args = append(args, "--locale-provider=icu", "--icu-locale=en-US")
	}
	return s.copyTemplate(string(version)+strings.Join(args, " "), func(s *Server) error {
		file := filepath.Join(s.folder, passwordName)
		if err := os.WriteFile(file, []byte(s.password), 0o644); err != nil { // the folder is closed to others
			return err
		}
		return runTool(s, initdb, append(args, "--pgdata="+dataName, "--pwfile="+file)...)
	})
}

// postgresMajor reads "initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
func postgresMajor(version string) int {
	_, number, _ := strings.Cut(version, ") ")
	number = strings.TrimSpace(number)
	end := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		number = number[:end]
	}
	major, err := strconv.Atoi(number)
	if err != nil {
		return 0 // old enough
	}
	return major
}

func (e postgres) command(s *Server) (command, error) {
	binary, err := e.find("postgres")
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "", // their paths have a short limit
		"shared_buffers":          "32MB",
	}
	if !s.onDisk {
		settings["max_wal_size"] = "128MB"              // of memory
		settings["dynamic_shared_memory_type"] = "mmap" // in its folder: elsewhere it stays behind when the server is killed
	}
	maps.Copy(settings, s.settings)
	args := []string{"-D", dataName}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return command{binary: binary, args: args}, err
}

func (e postgres) ask(s *Server) error { return e.execute(s, "SELECT 1") }

func (e postgres) settle(s *Server) error {
	if err := e.execute(s, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", owner, s.password)); err != nil {
		return err
	}
	return e.createDatabase(s, owner)
}

func (e postgres) createDatabase(s *Server, name string) error {
	return e.execute(s, fmt.Sprintf("CREATE DATABASE %s OWNER %s", name, owner))
}

func (e postgres) dropDatabase(s *Server, name string) error {
	return e.execute(s, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
}

// execute runs a statement as the administrator.
func (e postgres) execute(s *Server, statement string) error {
	if !portTaken(s.Addr()) {
		return fmt.Errorf("nobody listens on %s", s.Addr())
	}
	psql, err := e.find("psql")
	if err != nil {
		return err
	}
	return runClient(statement, []string{"PGPASSWORD=" + s.password, "PGCONNECT_TIMEOUT=10"}, psql, "--no-psqlrc", "--quiet",
		"--set=ON_ERROR_STOP=1", "--host=127.0.0.1", "--port="+strconv.Itoa(s.port), "--username="+e.admin(), "--dbname=postgres",
		"--output=/dev/null")
}

// find looks where Debian, Ubuntu and Red Hat put the programs of each version, the latest first, and then on the path.
func (e postgres) find(program string) (string, error) {
	var latest string
	major := -1
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/"} {
		found, err := filepath.Glob(pattern + program)
		if err != nil {
			return "", err
		}
		for _, path := range found {
			folder := filepath.Base(filepath.Dir(filepath.Dir(path)))
			if n, err := strconv.Atoi(strings.TrimPrefix(folder, "pgsql-")); err == nil && n > major {
				major, latest = n, path
			}
		}
	}
	if latest != "" {
		return latest, nil
	}
	return lookPath(program, "PostgreSQL", "postgresql")
}
