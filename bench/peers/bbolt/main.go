// bbolt on the load of bench/src/storage/peers/workload.rs: the same keys in the same order, the same batches, the same
// reads. Prints one JSON object.
//
//	bbolt-peer FILE PUTS KEYS READS
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	batch      = 64
	rangeKeys  = 500
	valueBytes = 256
	drops      = 1000
)

var heads, revisions = []byte("heads"), []byte("revisions")

// The numbers of the Rust program: SplitMix64.
type dice uint64

func (d *dice) below(bound uint64) uint64 {
	*d += 0x9e3779b97f4a7c15
	m := uint64(*d)
	m = (m ^ (m >> 30)) * 0xbf58476d1ce4e5b9
	m = (m ^ (m >> 27)) * 0x94d049bb133111eb
	return (m ^ (m >> 31)) % bound
}

func key(number uint64) []byte {
	return fmt.Appendf(nil, "/registry/pods/namespace-%02d/pod-%016x", number%97, number*0x9e3779b97f4a7c15)
}

func record(key, value []byte) []byte {
	r := make([]byte, 0, 2+len(key)+len(value))
	r = binary.BigEndian.AppendUint16(r, uint16(len(key)))
	return append(append(r, key...), value...)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	must(err)
	return n
}

func cpu() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func written() float64 {
	text, err := os.ReadFile("/proc/self/io")
	must(err)
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, "write_bytes: "); found {
			return float64(number(value))
		}
	}
	must(fmt.Errorf("/proc/self/io does not count bytes"))
	return 0
}

func open(path string) *bolt.DB {
	// As etcd opens it: the freelist in a hash map and not written with every commit.
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	must(err)
	return db
}

type put struct{ key, value []byte }

func commit(db *bolt.DB, first uint64, puts []put) {
	must(db.Update(func(tx *bolt.Tx) error {
		h, r := tx.Bucket(heads), tx.Bucket(revisions)
		// As etcd sets it for what is only appended to.
		r.FillPercent = 0.9
		for i, p := range puts {
			revision := binary.BigEndian.AppendUint64(nil, first+uint64(i))
			if err := r.Put(revision, record(p.key, p.value)); err != nil {
				return err
			}
			if err := h.Put(p.key, revision); err != nil {
				return err
			}
		}
		return nil
	}))
}

func get(db *bolt.DB, number uint64) {
	must(db.View(func(tx *bolt.Tx) error {
		revision := tx.Bucket(heads).Get(key(number))
		if revision == nil {
			return fmt.Errorf("key %d was put and is not there", number)
		}
		if found := tx.Bucket(revisions).Get(revision); len(found) < valueBytes {
			return fmt.Errorf("the record of key %d is gone", number)
		}
		return nil
	}))
}

func ranged(db *bolt.DB, from []byte, answer []byte) (count int, _ []byte) {
	must(db.View(func(tx *bolt.Tx) error {
		cursor, r := tx.Bucket(heads).Cursor(), tx.Bucket(revisions)
		for k, revision := cursor.Seek(from); k != nil && count < rangeKeys; k, revision = cursor.Next() {
			answer = append(answer, r.Get(revision)...)
			count++
		}
		return nil
	}))
	return count, answer
}

func compact(db *bolt.DB) uint64 {
	var useless [][]byte
	must(db.View(func(tx *bolt.Tx) error {
		h := tx.Bucket(heads)
		return tx.Bucket(revisions).ForEach(func(revision, record []byte) error {
			length := binary.BigEndian.Uint16(record)
			if !bytes.Equal(h.Get(record[2:2+length]), revision) {
				useless = append(useless, bytes.Clone(revision))
			}
			return nil
		})
	}))
	for rest := useless; len(rest) > 0; rest = rest[min(drops, len(rest)):] {
		must(db.Update(func(tx *bolt.Tx) error {
			for _, revision := range rest[:min(drops, len(rest))] {
				if err := tx.Bucket(revisions).Delete(revision); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return uint64(len(useless))
}

func main() {
	if len(os.Args) != 5 {
		must(fmt.Errorf("usage: bbolt-peer FILE PUTS KEYS READS"))
	}
	path, puts, keys, reads := os.Args[1], number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	db := open(path)
	must(db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(heads)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(revisions)
		}
		return err
	}))

	noise := make([]byte, 1<<20+61)
	source := rand.New(rand.NewSource(1))
	_, err := source.Read(noise)
	must(err)
	cpuBefore, writtenBefore := cpu(), written()
	var took time.Duration
	d := dice(1)
	for next, at := uint64(0), 0; next < puts; {
		var some []put
		for n := next; n < min(puts, next+batch); n++ {
			which := n
			if n >= keys {
				which = d.below(keys)
			}
			if at+valueBytes > len(noise) {
				at = at%61 + 1
			}
			some = append(some, put{key(which), noise[at : at+valueBytes]})
			at += valueBytes
		}
		begun := time.Now()
		commit(db, next+2, some)
		took += time.Since(begun)
		next += uint64(len(some))
	}
	cpuPut, writtenPut := (cpu()-cpuBefore)*1e6/float64(puts), (written()-writtenBefore)/float64(puts)

	begun := time.Now()
	d = dice(2)
	for range reads {
		get(db, d.below(keys))
	}
	getMicros := time.Since(begun).Seconds() * 1e6 / float64(reads)

	begun = time.Now()
	d = dice(3)
	found := 0
	var answer []byte
	for range (reads + 99) / 100 {
		var count int
		count, answer = ranged(db, key(d.below(keys)), answer[:0])
		found += count
	}
	rangeRate := float64(found) / time.Since(begun).Seconds()

	begun = time.Now()
	dropped := compact(db)
	droppedRate := float64(dropped) / time.Since(begun).Seconds()
	if dropped != puts-keys {
		must(fmt.Errorf("%d records dropped, not %d", dropped, puts-keys))
	}

	must(db.Close())
	begun = time.Now()
	db = open(path)
	get(db, keys/2)
	reopen := time.Since(begun).Seconds() * 1e3
	must(db.Close())

	must(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"puts_per_second":       float64(puts) / took.Seconds(),
		"cpu_micros_per_put":    cpuPut,
		"written_bytes_per_put": writtenPut,
		"get_micros":            getMicros,
		"range_keys_per_second": rangeRate,
		"dropped_per_second":    droppedRate,
		"reopen_millis":         reopen,
		// Filled in by who looks at the directory.
		"space_megabytes": 0,
	}))
}
