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
	w     io.Writer
	style text.Style
	live  bool
	text  string
}

func newStatusLine(file *os.File) *statusLine {
	return &statusLine{w: file, style: styleOf(file), live: term.IsTerminal(int(file.Fd()))}
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
		io.WriteString(s.w, s.style.Faint(s.style.Cut(s.text, "")))
	}
}
