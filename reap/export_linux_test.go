package reap

// HoldForTest keeps the Reaper from reaping until release is called.
func HoldForTest(r *Reaper) (release func()) {
	r.mu.Lock()
	return r.mu.Unlock
}
