// Package compare measures the ways to make a process side by side: those of package
// rawfork, those of its helper, [syscall.ForkExec] and os/exec, and plain C as the
// floor.
//
//	func main() {
//		compare.Init() // first: the measuring processes are processes of this program
//		report, err := compare.Run(ctx, compare.Options{Experiments: []string{"heap"}, Quick: true})
//		...
//		report.WriteText(os.Stdout, compare.TextOptions{})
//	}
//
// An experiment is data: a question, what is varied, the methods, what is measured.
// Each point is measured in processes of its own, that have the heap, the threads or
// whatever is varied. The methods take turns there (A B C, C B A, B C A, A C B, ...), so
// that a change of the machine's load, and what one leaves behind, meets all; the first
// turn is a warm-up. A figure is
// the median of the turns with its 95% confidence interval, a ratio the median of the
// ratios turn by turn. A report says on what machine it was made, and when its figures
// are not to be trusted.
//
// What the methods start is a program of 18 instructions that writes the time of its
// first one, so that the start is measured and not the program.
package compare
