package main

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"rawfork/internal/text"
)

// statusLine is the last line of a terminal, with the log above it. Where there is no
// terminal, there is the log only.
type statusLine struct {
	mu    sync.Mutex
	w     *os.File
	style text.Style
	live  bool
	text  string
}

func newStatusLine(file *os.File) *statusLine {
	return &statusLine{w: file, style: styleOf(file), live: term.IsTerminal(int(file.Fd()))}
}

// fit cuts text off before the terminal's last column: a line that is longer couldn't be
// cleared. The terminal's size may have changed since the last time.
func (s *statusLine) fit(text string) string {
	width := s.style.Width
	if now, _, err := term.GetSize(int(s.w.Fd())); err == nil && now > 0 {
		width = min(width, now)
	}
	line := []rune(text)
	return string(line[:min(len(line), width-1)])
}

// Write writes lines of the log.
func (s *statusLine) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	n, err := s.w.Write(p)
	s.draw()
	return n, err
}

// show shows what text returns, and again every second, until stop is called.
func (s *statusLine) show(text func() string) (stop func()) {
	if !s.live {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			s.set(text())
			select {
			case <-ticker.C:
			case <-quit:
				s.set("")
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (s *statusLine) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.text = text
	s.draw()
}

func (s *statusLine) clear() {
	if s.text != "" {
		io.WriteString(s.w, "\r\x1b[K")
	}
}

func (s *statusLine) draw() {
	if s.text != "" {
		io.WriteString(s.w, s.style.Faint(s.fit(s.text)))
	}
}
