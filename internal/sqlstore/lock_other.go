//go:build !unix

package sqlstore

// fileLock does nothing where the kernel has no advisory locks: there, starting one process is the operator's part.
type fileLock struct{}

func takeFileLock(string) (*fileLock, error) { return &fileLock{}, nil }

func (l *fileLock) release() {}
