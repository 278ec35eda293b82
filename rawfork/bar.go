package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"rawfork/compare"
	"rawfork/internal/text"
)

// A bar shows on a terminal's last line how far a run is and how long it will take, both
// by the run's own plan. Between two messages of the run it counts down.
type bar struct {
	w     io.Writer // nil: not a terminal
	style text.Style
	quit  chan struct{}
	drawn sync.WaitGroup

	mutex sync.Mutex
	seen  compare.Progress
	at    time.Time // when that was seen
}

func newBar(file *os.File, style text.Style) *bar {
	b := &bar{style: style, quit: make(chan struct{})}
	if !term.IsTerminal(int(file.Fd())) {
		return b
	}
	b.w = file
	b.drawn.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.draw()
			case <-b.quit:
				return
			}
		}
	})
	return b
}

func (b *bar) show(p compare.Progress) {
	if b.w == nil {
		return
	}
	b.mutex.Lock()
	b.seen, b.at = p, time.Now()
	b.mutex.Unlock()
	b.draw()
}

func (b *bar) draw() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if !b.at.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K"+barLine(b.style, b.seen, time.Since(b.at)))
	}
}

// end takes the line away.
func (b *bar) end() {
	close(b.quit)
	b.drawn.Wait()
	if b.w != nil {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

// barLine is the line for what was seen a while ago.
func barLine(style text.Style, p compare.Progress, ago time.Duration) string {
	const width = 20
	share := 0.0
	if p.Total > 0 {
		share = min(1, float64(p.Done)/float64(p.Total))
	}
	full := int(share * width)
	left := max(time.Second, p.Left-ago).Round(time.Second)
	return style.Cut(fmt.Sprintf("[%s%s] %3.0f%%  %s left  %s",
		strings.Repeat("#", full), strings.Repeat(".", width-full), 100*share, left, p.Doing), "")
}
