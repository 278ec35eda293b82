package child_test

import (
	"fmt"
	"go/ast"
	"slices"
	"sort"
	"strings"
	"testing"

	"rawfork/internal/purity"
)

// handlerRoom is how many bytes of its own the package's comment promises to a
// function that runs in the child and calls one of the package's.
const handlerRoom = 64

// TestPure proves from the machine code that a function which may run in the
// child doesn't allocate, check its stack, lock or call into the runtime: from
// every exported function on, everything that it can reach is followed to the
// end, and there must be nothing but straight calls, and the kernel.
//
// The program that is looked at also holds a function marked nosplit, with
// handlerRoom bytes of its own, around each of them: that it links at all proves
// that the longest chain fits in what is left of any stack.
//
// The programs are the same however this test is built, so -short leaves them out.
func TestPure(t *testing.T) {
	if testing.Short() {
		t.Skip("the same in every build of the test")
	}
	for _, b := range purity.Builds {
		t.Run(b.Name, func(t *testing.T) {
			roots := functions(t, "linux", "amd64")
			program := purity.Read(t, callsAll(t, roots), b)
			var reached []string
			for name := range roots {
				found := program.Follow("rawfork/child." + name)
				for _, fault := range found.Faults {
					t.Errorf("%s: %s", name, fault)
				}
				if !found.Kernel && roots[name].Recv == nil {
					t.Errorf("%s: followed to the end, but no system call found: the test is blind", name)
				}
				reached = append(reached, found.Functions...)
			}
			sort.Strings(reached)
			t.Logf("reached: %s", strings.Join(slices.Compact(reached), " "))
		})
	}
}

// callsAll is the text of a program that refers to all functions, and calls each
// from a handler as a user might write it.
func callsAll(t *testing.T, functions map[string]*ast.FuncDecl) string {
	var text, all strings.Builder
	text.WriteString("package main\n\nimport (\n\t\"syscall\"\n\t\"time\"\n\t\"unsafe\"\n\n\t_ \"rawfork\"\n\t\"rawfork/child\"\n)\n\n")
	text.WriteString("var _ syscall.Errno\nvar _ time.Duration\n\n//go:noinline\nfunc use(...any) {}\n\n")
	text.WriteString("//go:noinline\n//go:nosplit\n//go:norace\nfunc fill(*byte) {}\n\n")
	for name, decl := range functions {
		id := strings.NewReplacer("(*", "", ").", "_", ".", "_").Replace(name)
		var args []string
		for _, field := range decl.Type.Params.List {
			kind, dots := field.Type, ""
			if e, ok := kind.(*ast.Ellipsis); ok {
				kind, dots = &ast.ArrayType{Elt: e.Elt}, "..."
			}
			for _, param := range field.Names {
				arg := id + "_" + param.Name
				fmt.Fprintf(&text, "var %s %s\n", arg, qualified(source(t, kind)))
				args = append(args, arg+dots)
			}
		}
		own, on, function := fmt.Sprintf("[%d]byte", handlerRoom), "child.", "child."+name
		if decl.Recv != nil { // a value of the type is what the handler has of its own
			kind := decl.Recv.List[0].Type
			if star, ok := kind.(*ast.StarExpr); ok {
				kind = star.X
			}
			own, on, function = "child."+source(t, kind), "own.", strings.Replace(name, "(*", "(*child.", 1)
		}
		fmt.Fprintf(&text, "//go:nosplit\n//go:norace\nfunc handle%s() {\n\tvar own %s\n\tfill((*byte)(unsafe.Pointer(&own)))\n\t%s%s(%s)\n}\n\n",
			id, own, on, decl.Name, strings.Join(args, ", "))
		fmt.Fprintf(&all, "\tuse(%s, handle%s)\n", function, id)
	}
	return text.String() + "func main() {\n" + all.String() + "}\n"
}

// qualified gives the package's own types its name.
func qualified(kind string) string {
	at := strings.IndexFunc(kind, func(r rune) bool { return r != '*' && r != '[' && r != ']' })
	if word := kind[at:]; ast.IsExported(word) && !strings.Contains(word, ".") {
		return kind[:at] + "child." + word
	}
	return kind
}
