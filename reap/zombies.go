package reap

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"rawfork/internal/ps"
)

// Zombies returns the pids of this process's children that have ended and that nobody
// has reaped, in rising order, whoever is to wait for them. It looks at every process
// in /proc; a child may be reaped before it returns.
func Zombies() ([]int, error) {
	children, err := ps.Children(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("zombies: %w", err)
	}
	zombies := children[:0]
	for _, pid := range children {
		switch state, err := ps.State(pid); {
		case errors.Is(err, syscall.ESRCH): // reaped just now
		case err != nil:
			return nil, fmt.Errorf("zombies: %w", err)
		case state == 'Z':
			zombies = append(zombies, pid)
		}
	}
	return zombies, nil
}
