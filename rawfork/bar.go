package main

import (
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"rawfork/compare"
	"rawfork/internal/text"
)

// A bar shows on a terminal's last line how far a run is and how long it will take, both
// by the run's own plan: the library's guess takes no account of what is still to come.
// Between two messages of the run it counts down.
type bar struct {
	lib   *progressbar.ProgressBar // nil: not a terminal
	style text.Style
	quit  chan struct{}
	drawn sync.WaitGroup

	mutex sync.Mutex
	seen  compare.Progress
	at    time.Time // when that was seen
}

// barWidth is of the bar alone, barColumns with its frame and the percentage.
const (
	barWidth   = 12
	barColumns = barWidth + len(" 100% || ")
)

func newBar(file *os.File, style text.Style) *bar {
	b := &bar{style: style, quit: make(chan struct{})}
	if !term.IsTerminal(int(file.Fd())) {
		return b
	}
	b.lib = progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(file),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true))
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
	if b.lib == nil {
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
	if b.at.IsZero() {
		return
	}
	b.lib.ChangeMax64(b.seen.Total.Milliseconds() + 1) // one more: a bar that is full is removed
	b.lib.Set64(min(b.seen.Done, b.seen.Total).Milliseconds())
	b.lib.Describe(timeLeft(b.style, b.seen, time.Since(b.at)))
}

// end takes the line away.
func (b *bar) end() {
	close(b.quit)
	b.drawn.Wait()
	if b.lib != nil {
		b.lib.Finish()
	}
}

// timeLeft is what stands before the bar, for what was seen a while ago.
func timeLeft(style text.Style, p compare.Progress, ago time.Duration) string {
	if style.Width > 0 {
		style.Width = max(1, style.Width-barColumns)
	}
	left := max(time.Second, p.Left-ago).Round(time.Second)
	return style.Cut(left.String()+" left  "+p.Doing, "")
}
