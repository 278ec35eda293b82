package child_test

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSameOnEveryPlatform compares what the package exports where it is real
// with what it exports where it isn't: a program that builds on one must build
// on the other.
func TestSameOnEveryPlatform(t *testing.T) {
	want := exported(t, "linux", "amd64")
	if len(want) == 0 {
		t.Fatal("nothing exported on linux/amd64")
	}
	for _, platform := range []string{"linux/arm64", "linux/386", "linux/s390x", "darwin/arm64", "windows/amd64"} {
		goos, goarch, _ := strings.Cut(platform, "/")
		if diff := cmp.Diff(want, exported(t, goos, goarch)); diff != "" {
			t.Errorf("linux/amd64 and %s differ (-linux/amd64 +%s):\n%s", platform, platform, diff)
		}
	}
}

// exported maps each exported name of the package on one platform to what it is:
// a function's signature, a type, a constant or a variable.
func exported(t *testing.T, goos, goarch string) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, file := range parse(t, goos, goarch) {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() {
					names[receiver(t, d)+d.Name.Name] = source(t, d.Type)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							names[s.Name.Name] = "type"
						}
					case *ast.ValueSpec:
						for _, name := range s.Names {
							if name.IsExported() {
								names[name.Name] = d.Tok.String()
							}
						}
					}
				}
			}
		}
	}
	return names
}

// functions lists the exported functions and methods that may run in a child: all
// but those that prepare. The names are as the linker writes them, without the
// package: "Read", "(*Line).Text".
func functions(t *testing.T, goos, goarch string) map[string]*ast.FuncDecl {
	t.Helper()
	found := map[string]*ast.FuncDecl{}
	for _, file := range parse(t, goos, goarch) {
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if ok && d.Name.IsExported() && !strings.HasPrefix(d.Name.Name, "Prepare") {
				found[receiver(t, d)+d.Name.Name] = d
			}
		}
	}
	return found
}

// receiver is "(*T)." for a method of *T, "T." for one of T, or "".
func receiver(t *testing.T, d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	kind := source(t, d.Recv.List[0].Type)
	if strings.HasPrefix(kind, "*") {
		kind = "(" + kind + ")"
	}
	return kind + "."
}

// parse parses the package's files as they are built for one platform.
func parse(t *testing.T, goos, goarch string) []*ast.File {
	t.Helper()
	platform := build.Default
	platform.GOOS, platform.GOARCH, platform.CgoEnabled = goos, goarch, false
	pkg, err := platform.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// source is the Go text of a part of a program.
func source(t *testing.T, node any) string {
	t.Helper()
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), node); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
