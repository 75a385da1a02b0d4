package testenv

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	dataName     = "data"
	passwordName = "password"
)

// copyTemplate fills the server's folder with a data folder that was made once and is kept in the user's cache, for initialising one
// takes seconds. recipe is all that it depends on: another version of the server makes another. initialise fills the folder "data" of its
// server, whose users get the server's password.
func (s *Server) copyTemplate(recipe string, initialise func(s *Server) error) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "holdfast-testenv")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(recipe))
	template := filepath.Join(cache, fmt.Sprintf("%s-%x", strings.ToLower(s.engine.name()), key[:8]))
	if err := makeOnce(template, func(folder string) error { return s.fillTemplate(folder, initialise) }); err != nil {
		return fmt.Errorf("prepare a data folder: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(template, passwordName))
	if err != nil {
		return err
	}
	s.password = string(password)
	who, err := nobody()
	if err != nil {
		return err
	}
	return copyTree(filepath.Join(template, dataName), filepath.Join(s.folder, dataName), who)
}

func (s *Server) fillTemplate(folder string, initialise func(s *Server) error) (err error) {
	scratch := &Server{engine: s.engine, password: rand.Text()}
	if scratch.folder, err = newFolder("template", true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.discard()) }()
	if err := initialise(scratch); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(scratch.folder, dataName), filepath.Join(folder, dataName), nil); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, passwordName), []byte(scratch.password), 0o600)
}

// makeOnce makes a folder if it is not there, whole or not at all. Of several test processes one makes it, the others wait.
func makeOnce(folder string, fill func(folder string) error) error {
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing was written
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	half := folder + ".half"
	if err := os.RemoveAll(half); err != nil { // of a process that died over it
		return err
	}
	if err := os.Mkdir(half, 0o700); err != nil {
		return err
	}
	if err := fill(half); err != nil {
		return err
	}
	return os.Rename(half, folder)
}
