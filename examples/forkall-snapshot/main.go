//go:build linux && amd64

// Forkall-snapshot saves a live map as it is at one instant, by an ordinary
// encoder, while it goes on changing: the child has the map as it was at the fork.
//
// The map has accounts, and a goroutine that moves amounts between them, so that
// the sum stays what it is. The snapshot is taken with the map's lock held: in the
// child the lock is never given back, and the copy of that goroutine waits for it
// for ever. In the parent it goes on at once.
//
//	$ go run ./examples/forkall-snapshot
//	1000000 accounts
//	                      longest pause   transfers meanwhile
//	encoded in place          2296.5 ms                     0
//	encoded by a child         151.2 ms                  4607
//	both snapshots: 1000000 accounts, the sum is right
package main

import (
	"bufio"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"rawfork/forkall"
)

var size = flag.Int("accounts", 1_000_000, "how many there are")

// opening is what each account holds at first.
const opening = 100

// bank is a map that doesn't stand still.
type bank struct {
	mu        sync.Mutex
	accounts  map[int]int
	transfers int

	// longest asks the goroutine that moves amounts for its longest pause since
	// it was asked last.
	longest chan chan time.Duration
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("forkall-snapshot: ")
	flag.Parse()
	b := &bank{accounts: map[int]int{}, longest: make(chan chan time.Duration)}
	for i := range *size {
		b.accounts[i] = opening
	}
	go b.move()
	fmt.Printf("%d accounts\n%-18s %16s %21s\n", *size, "", "longest pause", "transfers meanwhile")
	b.measure("encoded in place", b.saveInPlace)
	b.measure("encoded by a child", b.saveByChild)
	fmt.Printf("both snapshots: %d accounts, the sum is right\n", *size)
}

// move moves amounts from one account to another, for ever.
func (b *bank) move() {
	var longest time.Duration
	last := time.Now()
	for n := 0; ; n++ {
		b.mu.Lock()
		b.accounts[n%*size]--
		b.accounts[n*7%*size]++
		b.transfers++
		b.mu.Unlock()
		now := time.Now()
		longest = max(longest, now.Sub(last))
		last = now
		select {
		case answer := <-b.longest:
			answer <- longest
			longest = 0
		default:
		}
	}
}

func (b *bank) longestPause() time.Duration {
	answer := make(chan time.Duration)
	b.longest <- answer
	return <-answer
}

// measure saves a snapshot to a file and checks it.
func (b *bank) measure(how string, save func(*os.File) (meanwhile int, err error)) {
	file, err := os.CreateTemp("", "snapshot")
	check(err)
	check(os.Remove(file.Name()))
	b.longestPause() // and from now on
	meanwhile, err := save(file)
	check(err)
	fmt.Printf("%-18s %13.1f ms %21d\n", how, b.longestPause().Seconds()*1e3, meanwhile)
	check(verify(file))
	check(file.Close())
}

// saveInPlace is what one does without fork: the lock is held all the while.
func (b *bank) saveInPlace(file *os.File) (meanwhile int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return 0, encode(file, b.accounts)
}

// saveByChild holds the lock for the fork only.
func (b *bank) saveByChild(file *os.File) (meanwhile int, err error) {
	b.mu.Lock()
	process, err := forkall.Run(func() int {
		if err := encode(file, b.accounts); err != nil {
			fmt.Fprintln(os.Stderr, "forkall-snapshot: child:", err)
			return 1
		}
		return 0
	})
	before := b.transfers
	b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	state, err := process.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("child: %v", state)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.transfers - before, err
}

func encode(w io.Writer, accounts map[int]int) error {
	buffered := bufio.NewWriter(w)
	return errors.Join(gob.NewEncoder(buffered).Encode(accounts), buffered.Flush())
}

// verify reads the snapshot back: a transfer that was half done would show.
func verify(file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var accounts map[int]int
	if err := gob.NewDecoder(bufio.NewReader(file)).Decode(&accounts); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	sum := 0
	for _, amount := range accounts {
		sum += amount
	}
	if len(accounts) != *size || sum != *size*opening {
		return fmt.Errorf("snapshot: %d accounts and a sum of %d, want %d and %d", len(accounts), sum, *size, *size*opening)
	}
	return nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
