package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGoStyle(t *testing.T) {
	root := rootCommand()
	root.AddCommand(execCommand(), caveatsCommand())
	for _, test := range []struct{ args, want string }{
		{"caveats -run guard -n 5", "caveats --run guard -n 5"},
		{"caveats -run=guard --json", "caveats --run=guard --json"},
		{"caveats -n5 -x", "caveats -n5 -x"},
		{"caveats -json -- -run", "caveats --json -- -run"},
		{"exec cmd -json", "exec cmd -json"},
		{"exec -method vfork -n 3 -json cmd -method x", "exec --method vfork -n 3 --json cmd -method x"},
		{"exec -method=vfork -n3 cmd -json", "exec --method=vfork -n3 cmd -json"},
		{"exec -n 3 -json -- cmd -json", "exec -n 3 --json -- cmd -json"},
		{"caveats -run -json", "caveats --run -json"},
		{"caveats ---run", "caveats ---run"},
		{"caveats - run", "caveats - run"},
	} {
		got := strings.Join(goStyle(root, strings.Fields(test.args)), " ")
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.args, diff)
		}
	}
}
