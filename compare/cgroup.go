package compare

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// groupLeft is what the limits on memory of this process's control groups, and of
// those above them, leave it: a very large number where there is none.
func groupLeft() int64 {
	left := int64(math.MaxInt64)
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return left
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, kind := range []struct{ controllers, root, limit, used string }{
			{"", "/sys/fs/cgroup", "memory.max", "memory.current"},
			{"", "/sys/fs/cgroup/unified", "memory.max", "memory.current"},
			{"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
		} {
			if parts[1] != kind.controllers {
				continue
			}
			// In a container the path may be the outer one: the root is asked in any case.
			for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
				limit, ok1 := number(kind.root + dir + "/" + kind.limit)
				used, ok2 := number(kind.root + dir + "/" + kind.used)
				if ok1 && ok2 {
					left = min(left, max(0, limit-used))
				}
				if dir == "/" {
					break
				}
			}
		}
	}
	return left
}

// number reads a file that has one number; "max" is none.
func number(name string) (int64, bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
