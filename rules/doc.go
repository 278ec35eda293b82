// Package rules states what fork does, and what it does to a Go program, each
// statement with a check that shows it.
//
// A [Rule] is a sentence on fork, where it comes from, and a check: processes that the
// check drives by package probe, and comparisons of what they are with what the rule
// says. Rules of one's own are checked in the same way:
//
//	rule := rules.Rule{ID: "umask", Claim: "The child has its parent's umask.",
//		Check: func(t *rules.T) {
//			p := t.Fork()                    // a child of this program
//			p.Call(unix.SYS_UMASK, 0o27)
//			c := p.Fork()                    // its child
//			t.Equal("mask", c.Call(unix.SYS_UMASK, 0), 0o27)
//		}}
//	result := rules.Check(ctx, rule)         // holds, broken or skipped
//
// A [Caveat] is something that goes wrong in a child without care: a claim, where it
// comes from, a demonstration that really goes wrong, counted over many tries and
// under a watchdog, and the library's way, which doesn't. It is shown in a process of its
// own, so a program that shows caveats calls [Init] first. The matrix ([Matrix]) runs
// children of every kind under every load of the parent, and beside them those of a
// plain fork through cgo, which hang.
//
// The same data feed the tests, the command (rawfork rules, rawfork caveats), RULES.md
// and CAVEATS.md.
package rules

//go:generate go run rawfork/rawfork rules --write ../RULES.md
//go:generate go run rawfork/rawfork caveats -n 16 --write ../CAVEATS.md
