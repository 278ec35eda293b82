package tour

import (
	"fmt"
	"strings"
)

// The steps stand in the chapter's order; a row may have several. Whatever runs in a child is in a
// function of its own that is marked norace: the race detector's calls can't run
// there, as little as any other call that isn't of package child.
var steps = []Step{
	{"C1", "process", "Processes and pids",
		"A process has a pid and attributes of its own: open files, environment, memory, connections. ps shows its pid, terminal, state, time and command.",
		process},
	{"C2", "twice", "fork returns twice",
		"One call, two returns: the child's pid in the parent, 0 in the child. Both go on right after the call.",
		twice},
	{"C3", "handle", "Who keeps which descriptor",
		"The parent closes the connection and takes more; the child closes the listener and serves this one.",
		handle},
	{"C4", "dothefork", "A function that returns twice",
		"A function of one's own that calls fork returns twice itself: \"server\" in one process, \"client\" in the other.",
		dothefork},
	{"C5", "firstfork", "The first fork",
		"The pid before the fork; then one line each from parent and child, in either order; a second later the same last line comes twice, once from each.",
		firstfork},
	{"C6", "memory", "Separate memory",
		"A variable that is changed in one process stays unchanged in the other.",
		memory},
	{"C7", "system", "system(): fork, exec and wait",
		"Run a program and get its exit code; or start it and go on, watch it, and block until it ends.",
		system},
	{"C8", "descriptors", "Duplicated descriptors",
		"Both processes hold every descriptor: two writers garble one stream, and a connection ends only when both have closed it.",
		descriptors},
	{"C9", "status", "Exit status",
		"wait tells the parent the exit code, or the signal that killed the child.",
		status},
	{"C10", "zombie", "The zombie problem",
		"A child that ended and was not waited for shows as state Z, <defunct>, in ps until its parent waits or ends.",
		zombie},
	{"C11", "reap", "The zombie solution by signal",
		"A handler of SIGCHLD reaps with WNOHANG until nothing is left, since one signal may stand for many children. The parent's sleep goes on for its full time.",
		reap},
	{"C12", "poll", "The zombie solution by polling",
		"The same reaping in the server's own loop, without a signal handler.",
		poll},
	{"C13", "orphan", "Orphans and init",
		"When the parent ends first, the child is given to init or to the nearest subreaper, which reaps it.",
		orphan},
	{"C14", "cow", "Copy-on-write",
		"fork copies page tables, not pages. A page is copied when one side writes to it.",
		cow},
	{"C15", "server", "A forking server",
		"A child for each connection: many clients are served at once, a slow one stops nobody, and no zombie is left.",
		server},
	{"C15", "goserver", "A forking server whose children are Go",
		"A fork from a helper of one thread gives children that are whole Go programs: here net/http serves each connection in a child of its own.",
		goServer},
	{"C16", "pool", "A forked pool",
		"Children that are forked ahead and used again, for many brief connections.",
		pool},
	{"C16", "prefork", "A forked pool of Go programs",
		"Children that were booted ahead share a listener; when one dies the others go on, and another takes its place.",
		prefork},
	{"C17", "locking", "Locking",
		"Processes that append to one file mix their records without a lock, and don't with flock or fcntl locks. A process that dies gives its locks back.",
		locking},
	{"C18", "errors", "Errors of fork",
		"At the limit on processes fork fails with EAGAIN: a server says so, drops the one connection and goes on. Nothing leaks.",
		forkErrors},
	{"C19", "alternatives", "Alternatives",
		"For many brief connections fork is the wrong tool: in Go, goroutines do the same work.",
		alternatives},
}

// number reads the number that stands behind name in what a child or /proc wrote.
func number(text, name string) (n int, err error) {
	_, after, found := strings.Cut(text, name)
	if !found {
		return 0, fmt.Errorf("no %q in %.80q", name, text)
	}
	if _, err := fmt.Sscan(after, &n); err != nil {
		return 0, fmt.Errorf("no number after %q in %.80q", name, text)
	}
	return n, nil
}

// list is what is said of several numbers.
func list(numbers []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ", "), "[]")
}
