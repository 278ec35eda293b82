package procstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

var (
	// ErrKernelThread is why a kernel thread has no memory, arguments or program.
	ErrKernelThread = errors.New("a kernel thread has none")
	// ErrInExec is why a process has no arguments and environment yet: it was read
	// in the middle of execve(2), after the close-on-exec descriptors were closed,
	// which is what a parent takes for the end of it.
	ErrInExec = errors.New("in the middle of execve(2)")
	// ErrLeftOut is why a part that wasn't asked for isn't there.
	ErrLeftOut = errors.New("left out")

	// errGone is both errors that say "no such process" in Go.
	errGone = fmt.Errorf("%w (%w)", os.ErrProcessDone, syscall.ESRCH)
	// errEnded is why a zombie has no descriptors, memory or directories.
	errEnded = fmt.Errorf("given back at the end: %w", os.ErrProcessDone)
)

// MarshalJSON writes the errors as their texts.
func (m Missing) MarshalJSON() ([]byte, error) {
	texts := make(map[string]string, len(m))
	for field, err := range m {
		texts[field] = err.Error()
	}
	return json.Marshal(texts)
}

// UnmarshalJSON reads the texts. The errors that it makes match no other by
// [errors.Is].
func (m *Missing) UnmarshalJSON(text []byte) error {
	var texts map[string]string
	if err := json.Unmarshal(text, &texts); err != nil {
		return err
	}
	*m = make(Missing, len(texts))
	for field, text := range texts {
		(*m)[field] = errors.New(text)
	}
	return nil
}
