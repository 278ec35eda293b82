package purity

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Build is a way to build a program.
type Build struct {
	Name  string
	Flags []string // of go build
	Env   []string
}

// Builds are those that change the machine code of what runs in a child.
var Builds = []Build{
	{"default", nil, nil},
	{"race", []string{"-race"}, []string{"CGO_ENABLED=1"}},
	{"unoptimised", []string{"-gcflags=all=-N -l"}, nil},
	{"race and unoptimised", []string{"-race", "-gcflags=rawfork/...=-N -l"}, []string{"CGO_ENABLED=1"}},
	{"without cgo", nil, []string{"CGO_ENABLED=0"}},
	{"arm64", nil, []string{"CGO_ENABLED=0", "GOARCH=arm64"}},
}

// Read builds the program whose one file is text, inside of this module without
// being in its tree, and reads its machine code.
func Read(t testing.TB, text string, b Build) *Program {
	t.Helper()
	module, dir := moduleDir(t), t.TempDir()
	file, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay"), filepath.Join(dir, "binary")
	replace, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(module, "internal", "purity", "program", "main.go"): file},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"build", "-overlay", overlay, "-o", binary}, b.Flags...)
	build := exec.Command("go", append(args, "rawfork/internal/purity/program")...)
	build.Dir = module
	build.Env = append(os.Environ(), b.Env...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return disassemble(t, binary)
}

// moduleDir is the directory of this module.
func moduleDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// disassemble reads the machine code of a program.
func disassemble(t testing.TB, binary string) *Program {
	t.Helper()
	objdump := exec.Command("go", "tool", "objdump", binary)
	out, err := objdump.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := objdump.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Program{byName: map[string][]*function{}}
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
func (p *Program) add(line string) {
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
