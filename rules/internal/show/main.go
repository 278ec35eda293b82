// Command show shows a caveat that takes a build of its own, by order of package rules.
package main

import (
	"fmt"
	"os"

	"rawfork/rules"
)

func main() {
	rules.Init()
	fmt.Fprintln(os.Stderr, "show: package rules starts this program: see rawfork caveats")
	os.Exit(2)
}
