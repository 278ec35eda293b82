package purity

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Functions that are nosplit and do what a child may not are found out, each for
// its reason.
func TestFindsFaults(t *testing.T) {
	text, err := os.ReadFile("testdata/impure.go")
	if err != nil {
		t.Fatal(err)
	}
	impure := map[string]string{ // function, and what must be in the report: a|b is either
		"allocates":      "runtime.newobject",
		"makesSlice":     "runtime.makeslice",
		"concatenates":   "runtime.concatstring",
		"writesMap":      "runtime.mapassign",
		"sends":          "runtime.chansend1",
		"spawns":         "runtime.newproc",
		"defers":         "runtime.deferreturn",
		"indexes":        "runtime.panic",
		"panics":         "runtime.gopanic",
		"prints":         "runtime.print",
		"locks":          "sync.(*Mutex).|unknown instruction",
		"yields":         "runtime.mcall",
		"entersSyscall":  "runtime.entersyscall",
		"storesPointer":  "runtime.gcWriteBarrier",
		"callsValue":     "indirect call",
		"callsInterface": "indirect call",
		"deepens":        "checks its stack",
	}
	pure := []string{"adds", "copies", "asks"}
	for _, b := range Builds {
		if b.Name != "default" && b.Name != "arm64" && b.Name != "race" {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			program := Read(t, string(text), b)
			for name, reason := range impure {
				faults := strings.Join(program.Follow("main."+name).Faults, "\n\t")
				if !slices.ContainsFunc(strings.Split(reason, "|"), func(r string) bool { return strings.Contains(faults, r) }) {
					t.Errorf("%s: found\n\t%s\nwant a fault with %q", name, faults, reason)
				}
			}
			for _, name := range pure {
				if faults := program.Follow("main." + name).Faults; faults != nil {
					t.Errorf("%s: found\n\t%s\nwant no fault", name, strings.Join(faults, "\n\t"))
				}
			}
			instrumented := program.Follow("main.instrumented").Faults
			if found := strings.Contains(fmt.Sprint(instrumented), "runtime.race"); found != (b.Name == "race") {
				t.Errorf("instrumented, whose mark norace is missing: found %q", instrumented)
			}
		})
	}
}
