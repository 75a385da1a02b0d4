package sqlstore

import (
	"encoding/binary"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Health is how the record is doing, as far as that can be seen without asking it.
type Health struct {
	Statements map[string]int64 // run so far, by kind: select, insert, update, delete, transaction

	ReadersInUse, ReadersMax int
	ReaderWaits              int64         // times a look waited for a reading connection
	ReaderWaited             time.Duration // all of them together

	WritersInUse, WritersMax int
	WriterWaits              int64 // the same of transactions, where a server has several connections that write
	WriterWaited             time.Duration

	// Of the file, where there is one.
	FileBytes, WALBytes int64
	Checkpoints         int64 // times the write-ahead log began anew
}

// Health looks at the counters and at the sizes of the files. It runs no statement.
func (s *Store) Health() Health {
	pool := s.read.Stats()
	h := Health{
		Statements:   s.statements.all(),
		ReadersInUse: pool.InUse, ReadersMax: pool.MaxOpenConnections, ReaderWaits: pool.WaitCount, ReaderWaited: pool.WaitDuration,
	}
	writes := s.write.Stats()
	h.WritersInUse, h.WritersMax, h.WriterWaits, h.WriterWaited = writes.InUse, writes.MaxOpenConnections, writes.WaitCount, writes.WaitDuration
	if s.dialect.alone {
		h.WritersInUse, h.WritersMax = 1-len(s.writer.turn), 1
	}
	if s.path != "" {
		h.FileBytes, h.WALBytes = size(s.path), size(s.path+"-wal")
		h.Checkpoints = checkpoints(s.path + "-wal")
	}
	return h
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// checkpoints reads the sequence number in the header of a write-ahead log, which rises when the log begins anew
// (https://sqlite.org/fileformat2.html#walformat). Only this file may be opened beside SQLite: closing the database's own would
// drop the locks that this process holds on it.
func checkpoints(wal string) int64 {
	f, err := os.Open(wal)
	if err != nil {
		return 0
	}
	defer f.Close() //nolint:errcheck // it was only read
	var header [16]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return 0
	}
	return int64(binary.BigEndian.Uint32(header[12:]))
}

// kinds counts statements by their verb, and those of audits, which come in bursts, by themselves.
type kinds struct{ selects, inserts, updates, deletes, transactions, audits, others atomic.Int64 }

func (k *kinds) count(query string) {
	verb, rest, _ := strings.Cut(query, " ")
	if verb == "WITH" {
		for _, writes := range []string{"INSERT", "UPDATE", "DELETE"} {
			if strings.Contains(rest, "("+writes+" ") {
				verb = writes
			}
		}
	}
	switch verb {
	case "SELECT", "WITH":
		k.selects.Add(1)
	case "INSERT":
		k.inserts.Add(1)
	case "UPDATE":
		k.updates.Add(1)
	case "DELETE":
		k.deletes.Add(1)
	case "BEGIN", "COMMIT", "ROLLBACK":
		k.transactions.Add(1)
	default:
		k.others.Add(1)
	}
}

func (k *kinds) all() map[string]int64 {
	return map[string]int64{
		"select": k.selects.Load(), "insert": k.inserts.Load(), "update": k.updates.Load(), "delete": k.deletes.Load(),
		"transaction": k.transactions.Load(), "audit": k.audits.Load(), "other": k.others.Load(),
	}
}
