package testenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// rabbitmq is RabbitMQ 3.10 or later, without plugins.
type rabbitmq struct {
	names *Server // Erlang's port mapper: RabbitMQ would start one for all and leave it behind
	peers int     // the port where other nodes and tools would reach this one
}

func (*rabbitmq) name() string         { return "RabbitMQ" }
func (*rabbitmq) admin() string        { return owner }
func (*rabbitmq) stop() syscall.Signal { return syscall.SIGTERM }
func (*rabbitmq) settle(*Server) error { return nil }
func (*rabbitmq) url(s *Server, user, _ string) string {
	return fmt.Sprintf("amqp://%s:%s@%s/", user, s.password, s.Addr())
}

func (e *rabbitmq) prepare(s *Server) (err error) {
	if e.names, err = start(epmd{}, Options{}); err != nil {
		return err
	}
	s.beside = append(s.beside, e.names.discard)
	port, held, err := reservePort()
	if err != nil {
		return err
	}
	e.peers = port
	s.beside = append(s.beside, held.Close)
	return os.WriteFile(filepath.Join(s.folder, "enabled_plugins"), []byte("[].\n"), 0o644)
}

func (e *rabbitmq) command(s *Server) (command, error) {
	binary := "/usr/lib/rabbitmq/bin/rabbitmq-server" // that on the path of Debian runs as the user rabbitmq only
	if _, err := os.Stat(binary); err != nil {
		if binary, err = lookPath("rabbitmq-server", "RabbitMQ", "rabbitmq-server"); err != nil {
			return command{}, err
		}
	}
	settings := map[string]string{
		"listeners.tcp.1":                   s.Addr(),
		"default_user":                      owner,
		"default_pass":                      s.password,
		"log.console":                       "true",
		"log.file":                          "false",
		"vm_memory_high_watermark.absolute": "512MB",
	}
	maps.Copy(settings, s.settings)
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, settings[name])
	}
	path := filepath.Join(s.folder, "rabbitmq.conf")
	return command{binary: binary, env: []string{
		"RABBITMQ_NODENAME=holdfast@localhost",
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(s.folder, "none"),
		"RABBITMQ_CONFIG_FILE=" + path,
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(s.folder, "none.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(s.folder, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(s.folder, dataName),
		"RABBITMQ_LOG_BASE=" + s.folder,
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(e.peers),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_EPMD_PORT=" + strconv.Itoa(e.names.port),
	}}, os.WriteFile(path, []byte(conf.String()), 0o644)
}

// ask sends the header of AMQP 0-9-1. The answer is a frame of the first kind, the method Connection.Start.
func (*rabbitmq) ask(s *Server) error {
	got, err := exchange(s.Addr(), "AMQP\x00\x00\x09\x01", 1)
	if err == nil && got != "\x01" {
		err = fmt.Errorf("to the header of AMQP it said %q", got)
	}
	return err
}

// epmd tells the nodes of Erlang where each other's ports are.
type epmd struct{}

func (epmd) name() string                      { return "epmd" }
func (epmd) admin() string                     { return "" }
func (epmd) url(s *Server, _, _ string) string { return s.Addr() }
func (epmd) stop() syscall.Signal              { return syscall.SIGTERM }
func (epmd) prepare(*Server) error             { return nil }
func (epmd) settle(*Server) error              { return nil }

func (epmd) command(s *Server) (command, error) {
	binary, err := lookPath("epmd", "Erlang", "rabbitmq-server")
	return command{binary: binary, args: []string{"-address", "127.0.0.1", "-port", strconv.Itoa(s.port)}}, err
}

func (epmd) ask(s *Server) error {
	if !portTaken(s.Addr()) {
		return fmt.Errorf("nobody listens on %s", s.Addr())
	}
	return nil
}
