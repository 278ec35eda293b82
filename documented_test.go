package rawfork_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumented fails for an exported name of any package, on any platform, that has
// no comment, or a function's or a type's that doesn't begin with its name. A struct's
// fields are the matter of its type's comment.
func TestDocumented(t *testing.T) {
	files := token.NewFileSet()
	names := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || len(name) > 1 && name[0] == '.') {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || file.Name.Name == "main" {
			return err
		}
		for _, decl := range file.Decls {
			for name, comment := range comments(decl) {
				names++
				if comment == "" {
					t.Errorf("%s: %s has no comment that begins with its name", files.Position(name.Pos()), name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if names < 500 {
		t.Errorf("found %d exported names only", names)
	}
}

// comments maps each exported name of a declaration to its comment, or to nothing where
// the comment is not of that name.
func comments(decl ast.Decl) map[*ast.Ident]string {
	found := map[*ast.Ident]string{}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || receiver(d.Recv.List[0].Type).IsExported()) {
			found[d.Name] = of(d.Name.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					break
				}
				found[s.Name] = of(s.Name.Name, s.Doc) + of(s.Name.Name, d.Doc)
				if kind, ok := s.Type.(*ast.InterfaceType); ok {
					for _, method := range kind.Methods.List {
						add(found, method.Names, text(method.Doc, method.Comment))
					}
				}
			case *ast.ValueSpec: // a group's comment is that of all of it
				add(found, s.Names, text(d.Doc, s.Doc, s.Comment))
			}
		}
	}
	return found
}

func add(found map[*ast.Ident]string, names []*ast.Ident, comment string) {
	for _, name := range names {
		if name.IsExported() {
			found[name] = comment
		}
	}
}

// of is a comment that begins with the name, with an article or without.
func of(name string, doc *ast.CommentGroup) string {
	comment := doc.Text()
	for _, article := range []string{"", "A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(comment, article+name); ok && strings.IndexAny(rest, " ,:'.\n") == 0 {
			return comment
		}
	}
	return ""
}

func text(groups ...*ast.CommentGroup) (all string) {
	for _, group := range groups {
		all += group.Text()
	}
	return all
}

// receiver is the name of the type that a method belongs to.
func receiver(kind ast.Expr) *ast.Ident {
	switch k := kind.(type) {
	case *ast.StarExpr:
		return receiver(k.X)
	case *ast.IndexExpr:
		return receiver(k.X)
	case *ast.Ident:
		return k
	}
	return ast.NewIdent("_")
}
