package child_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// handlerRoom is how many bytes of its own the package's comment promises to a
// function that runs in the child and calls one of the package's.
const handlerRoom = 64

// builds are the ways to build a program that change the machine code of the
// package or of what it calls.
var builds = []struct {
	name  string
	flags []string
	env   []string
}{
	{"default", nil, nil},
	{"race", []string{"-race"}, nil},
	{"unoptimised", []string{"-gcflags=all=-N -l"}, nil},
	{"race and unoptimised", []string{"-race", "-gcflags=rawfork/...=-N -l"}, nil},
	{"without cgo", nil, []string{"CGO_ENABLED=0"}},
	{"arm64", nil, []string{"CGO_ENABLED=0", "GOARCH=arm64"}},
}

// TestPure proves from the machine code that a function which may run in the
// child doesn't allocate, check its stack, lock or call into the runtime: from
// every exported function on, everything that it can reach is followed to the
// end, and there must be nothing but straight calls, and the kernel.
//
// The program that is looked at also holds a function marked nosplit, with
// handlerRoom bytes of its own, around each of them: that it links at all proves
// that the longest chain fits in what is left of any stack.
func TestPure(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			roots := functions(t, "linux", "amd64")
			program := disassemble(t, callsAll(t, roots), b.flags, b.env)
			var reached []string
			for name := range roots {
				found := program.follow("rawfork/child." + name)
				for _, fault := range found.faults {
					t.Errorf("%s: %s", name, fault)
				}
				if !found.kernel && roots[name].Recv == nil {
					t.Errorf("%s: followed to the end, but no system call found: the test is blind", name)
				}
				reached = append(reached, found.functions...)
			}
			sort.Strings(reached)
			t.Logf("reached: %s", strings.Join(slices.Compact(reached), " "))
		})
	}
}

// TestPureFindsFaults is the test of the test: functions that are nosplit and do
// what a child may not are found out, each for its reason.
func TestPureFindsFaults(t *testing.T) {
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
	for _, b := range builds {
		if b.name != "default" && b.name != "arm64" && b.name != "race" {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			program := disassemble(t, string(text), b.flags, b.env)
			for name, reason := range impure {
				faults := strings.Join(program.follow("main."+name).faults, "\n\t")
				if !slices.ContainsFunc(strings.Split(reason, "|"), func(r string) bool { return strings.Contains(faults, r) }) {
					t.Errorf("%s: found\n\t%s\nwant a fault with %q", name, faults, reason)
				}
			}
			for _, name := range pure {
				if faults := program.follow("main." + name).faults; faults != nil {
					t.Errorf("%s: found\n\t%s\nwant no fault", name, strings.Join(faults, "\n\t"))
				}
			}
			instrumented := program.follow("main.instrumented").faults
			if found := strings.Contains(fmt.Sprint(instrumented), "runtime.race"); found != (b.name == "race") {
				t.Errorf("instrumented, whose mark norace is missing: found %q", instrumented)
			}
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

// program is the machine code of a program: its functions in order of address,
// each with where it can go on.
type program struct {
	ordered []*function
	byName  map[string][]*function
}

type function struct {
	name       string
	start, end uint64
	targets    []target
	kernel     bool     // has an instruction that calls the kernel
	faults     []string // what can't be followed
}

// target is where a call or jump goes: a symbol or an address.
type target struct {
	symbol  string
	address uint64
}

// disassemble builds the program of one file, inside of this module without
// being in its tree, and reads its machine code.
func disassemble(t *testing.T, text string, flags, env []string) *program {
	t.Helper()
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay"), filepath.Join(dir, "binary")
	replace, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(module, "child", "puritycheck", "main.go"): file},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"build", "-overlay", overlay, "-o", binary}, flags...)
	build := exec.Command("go", append(args, "rawfork/child/puritycheck")...)
	build.Dir = module
	build.Env = append(os.Environ(), env...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	objdump := exec.Command("go", "tool", "objdump", binary)
	objdump.Dir = module
	out, err := objdump.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := objdump.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{byName: map[string][]*function{}}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.add(lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err := objdump.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(p.ordered, func(a, b *function) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return p
}

// add takes one line of objdump: the head of a function, or an instruction in
// the form "file:line \t address \t code \t instruction".
func (p *program) add(line string) {
	if head, ok := strings.CutPrefix(line, "TEXT "); ok {
		name, _, _ := strings.Cut(head, "(SB)")
		f := &function{name: name}
		p.ordered = append(p.ordered, f)
		p.byName[name] = append(p.byName[name], f)
		return
	}
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == '\t' })
	if len(fields) < 4 || len(p.ordered) == 0 {
		return
	}
	f := p.ordered[len(p.ordered)-1]
	address, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(fields[1]), "0x"), 16, 64)
	if err != nil {
		return
	}
	if f.start == 0 {
		f.start = address
	}
	code := strings.TrimSpace(fields[2])
	f.end = address + uint64(len(code)/2)
	f.instruction(address, code, strings.TrimSpace(strings.Join(fields[3:], " ")))
}

// instruction notes where an instruction goes on, if not with the next one.
func (f *function) instruction(address uint64, code, text string) {
	op, operands, _ := strings.Cut(text, " ")
	operands = strings.TrimSpace(operands)
	last := operands
	if op != "CALL" && op != "JMP" { // whose symbol may have spaces and commas
		last = operands[strings.LastIndexByte(operands, ' ')+1:]
	}
	straight, ok := parseTarget(address, last)
	switch {
	case op == "SYSCALL" || op == "SVC":
		f.kernel = true
	case op == "?" && strings.Trim(code, "0") != "": // zeros are padding
		f.faults = append(f.faults, "unknown instruction "+code)
	case op == "CALL" || op == "JMP":
		if !ok {
			kind := map[string]string{"CALL": "indirect call ", "JMP": "indirect jump "}[op]
			f.faults = append(f.faults, kind+operands)
			return
		}
		f.targets = append(f.targets, straight)
	case op == "RET" && strings.HasPrefix(operands, "("):
		f.faults = append(f.faults, "indirect jump "+operands)
	case strings.HasSuffix(last, "(PC)") || op[0] == 'J': // a conditional jump
		if ok {
			f.targets = append(f.targets, straight)
		}
	}
}

// parseTarget understands "symbol(SB)", "0xaddress", and "instructions(PC)".
func parseTarget(address uint64, operand string) (target, bool) {
	if symbol, ok := strings.CutSuffix(operand, "(SB)"); ok {
		return target{symbol: symbol}, true
	}
	if hex, ok := strings.CutPrefix(operand, "0x"); ok {
		to, err := strconv.ParseUint(hex, 16, 64)
		return target{address: to}, err == nil
	}
	if count, ok := strings.CutSuffix(operand, "(PC)"); ok {
		n, err := strconv.ParseInt(count, 10, 64)
		return target{address: address + uint64(4*n)}, err == nil
	}
	return target{}, false
}

// resolve finds the functions that a target may be in.
func (p *program) resolve(to target) []*function {
	if to.symbol != "" {
		return p.byName[to.symbol]
	}
	after := sort.Search(len(p.ordered), func(i int) bool { return p.ordered[i].start > to.address })
	if after == 0 || to.address >= p.ordered[after-1].end {
		return nil
	}
	return p.ordered[after-1 : after]
}

// found is what can be reached from one function.
type found struct {
	functions []string
	kernel    bool
	faults    []string // each with the calls that lead to it
}

// follow goes from the function of that name to all that it can reach. It doesn't
// go into what has a fault, or checks its stack, itself.
func (p *program) follow(name string) found {
	var result found
	visited := map[*function]bool{}
	var visit func(f *function, path string)
	visit = func(f *function, path string) {
		if visited[f] {
			return
		}
		visited[f] = true
		result.functions = append(result.functions, f.name)
		result.kernel = result.kernel || f.kernel
		stop := false
		fault := func(what string) {
			result.faults = append(result.faults, path+": "+what)
			stop = true
		}
		for _, what := range f.faults {
			fault(what)
		}
		for _, to := range f.targets {
			if strings.HasPrefix(to.symbol, "runtime.morestack") {
				fault("checks its stack")
			}
		}
		if stop {
			return
		}
		for _, to := range f.targets {
			next := p.resolve(to)
			if len(next) == 0 {
				fault(fmt.Sprintf("goes to %s%#x, which is no function of the program", to.symbol, to.address))
			}
			for _, n := range next {
				visit(n, path+" > "+n.name)
			}
		}
	}
	roots := p.byName[name]
	if len(roots) == 0 {
		result.faults = []string{name + ": not in the program"}
	}
	for _, f := range roots {
		visit(f, name)
	}
	return result
}
