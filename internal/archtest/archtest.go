// Package archtest holds the layout of the module: who may import whom, which library
// lives behind which package, who may start goroutines, timers and HTTP clients, and what
// stays out of the money path (floats, the real clock, providers' names). Its test runs
// Check over the whole tree.
//
// Check reads source only, without types. It does not see what a package reaches through
// reflection, a linker directive or a value that it is handed (a client, a timer), nor
// other modules below the tree.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of the module that is checked.
const Module = "pay.taipei/gateway"

// Finding is one breach of the layout.
type Finding struct {
	Where string // file:line, or a folder
	What  string // what is wrong, and what to do
}

func (f Finding) String() string { return f.Where + ": " + f.What }

// Check reports every breach in the tree, sorted by place. The error says that a file
// cannot be read or is not Go.
func Check(tree fs.FS) ([]Finding, error) {
	c := &checker{set: token.NewFileSet(), packages: map[string][]source{}}
	if err := fs.WalkDir(tree, ".", c.visit(tree)); err != nil {
		return nil, fmt.Errorf("archtest: %w", err)
	}
	c.names = adapters(c.packages)
	for _, pkg := range slices.Sorted(maps.Keys(c.packages)) {
		c.check(pkg, c.packages[pkg])
	}
	return c.findings, nil
}

type checker struct {
	set      *token.FileSet
	packages map[string][]source
	names    []string // of the adapters
	findings []Finding
}

type source struct {
	name string // from the root
	test bool
	file *ast.File
}

func (c *checker) visit(tree fs.FS) fs.WalkDirFunc {
	return func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name != "." && skipped(tree, name) {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(c.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		c.packages[pkg] = append(c.packages[pkg], source{name, strings.HasSuffix(name, "_test.go"), file})
		return nil
	}
}

// skipped tells folders that the go command ignores and other modules.
func skipped(tree fs.FS, folder string) bool {
	base := path.Base(folder)
	if base == "testdata" || base == "vendor" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(tree, path.Join(folder, "go.mod"))
	return err == nil
}

// adapters are the names of the providers: the folders beside the contract.
func adapters(packages map[string][]source) []string {
	var names []string
	for pkg := range packages {
		if name, ok := strings.CutPrefix(pkg, "providers/"); ok && name != "all" && name != "providertest" && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

func (c *checker) report(where, format string, args ...any) {
	c.findings = append(c.findings, Finding{where, fmt.Sprintf(format, args...)})
}

func (c *checker) at(p token.Pos) string {
	q := c.set.Position(p)
	return q.Filename + ":" + strconv.Itoa(q.Line)
}

func (c *checker) check(pkg string, files []source) {
	rows := table()
	i := slices.IndexFunc(rows, func(r row) bool { return fits(r.pkg, pkg) })
	if i < 0 {
		c.report(pkg, "the layout does not list this package: move the code, or add a row with a decision in docs/decisions")
		return
	}
	c.docs(pkg, files)
	for _, f := range files {
		may := rows[i].may
		if f.test {
			may = slices.Concat(may, kits(), realStore())
		}
		for _, spec := range f.file.Imports {
			c.imported(pkg, f, spec, may)
		}
		c.inits(f)
		if f.test {
			continue
		}
		if fitsAny(nearMoney(), pkg) {
			c.floats(f)
		}
		if !fitsAny(clockOwners(), pkg) {
			c.randomness(f)
		}
		if !fitsAny(starters(), pkg) {
			c.goroutines(f)
		}
		c.uses(pkg, f)
		if !fitsAny(mayName(), pkg) {
			names := c.names
			if fitsAny(mayNameBank(), pkg) {
				names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == demoBank })
			}
			c.providerNames(f, names)
		}
	}
}

func (c *checker) docs(pkg string, files []source) {
	var with []string
	product := false
	for _, f := range files {
		if f.test {
			continue
		}
		product = true
		if f.file.Doc.Text() != "" {
			with = append(with, f.name)
		}
	}
	if product && len(with) != 1 {
		c.report(pkg, "want exactly one package comment, have %d %v", len(with), with)
	}
}

func (c *checker) imported(pkg string, f source, spec *ast.ImportSpec, may []string) {
	what, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return // the parser has checked it
	}
	where := c.at(spec.Pos())
	if spec.Name != nil && spec.Name.Name == "." {
		c.report(where, "no dot imports: they hide what is used")
	}
	if own, ok := strings.CutPrefix(what, Module+"/"); ok {
		if own != pkg && !sameProgram(pkg, own) && !fitsAny(may, own) {
			c.report(where, "%s must not import %s: declare a small interface here and let cmd wire it", pkg, own)
		}
		return
	}
	for _, s := range strangers() {
		if !f.test && fits(s.pkg, pkg) && slices.Contains(s.may, what) {
			c.report(where, "%s must not know %s", pkg, what)
		}
	}
	for _, l := range fences() {
		if !below(l.library, what) {
			continue
		}
		allowed := fitsAny(l.in, pkg) || f.test && fitsAny(l.tests, pkg)
		if !allowed {
			c.report(where, "%s must not import %s: it stays in %s", pkg, what, strings.Join(l.in, ", "))
		}
		return
	}
	if slices.ContainsFunc(testLibraries(), func(l string) bool { return below(l, what) }) {
		if !f.test {
			c.report(where, "%s is for tests only", what)
		}
		return
	}
	if first, _, _ := strings.Cut(what, "/"); strings.Contains(first, ".") || what == "C" || what == "unsafe" || what == "plugin" {
		c.report(where, "%s is behind no fence: add one with a reason, or do without it", what)
	}
}

// sameProgram holds for packages of one folder under sandbox/ or of one command.
func sameProgram(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	return len(x) > 1 && len(y) > 1 && x[0] == y[0] && x[1] == y[1] && x[1] != "internal" && (x[0] == "sandbox" || x[0] == "cmd")
}

func (c *checker) inits(f source) {
	for _, d := range f.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.report(c.at(fn.Pos()), "no init functions: nothing registers itself; pass it to a constructor")
		}
	}
}

func (c *checker) floats(f source) {
	banned := []string{"float32", "float64", "complex64", "complex128", "ParseFloat", "FormatFloat", "NewFromFloat", "InexactFloat64", "Float32", "Float64"}
	ast.Inspect(f.file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Ident:
			if slices.Contains(banned, x.Name) {
				c.report(c.at(x.Pos()), "no floats near money (%s): use money.Amount or whole units", x.Name)
			}
		case *ast.BasicLit:
			if x.Kind == token.FLOAT || x.Kind == token.IMAG {
				c.report(c.at(x.Pos()), "no floats near money (%s): use money.Amount or whole units", x.Value)
			}
		}
		return true
	})
}

func (c *checker) randomness(f source) {
	for _, spec := range f.file.Imports {
		if what, _ := strconv.Unquote(spec.Path.Value); below("math/rand", what) {
			c.report(c.at(spec.Pos()), "no %s here: take randomness through Deps", what)
		}
	}
}

// goroutines takes every method named Go for one that starts a goroutine, as sync.WaitGroup's does.
func (c *checker) goroutines(f source) {
	ast.Inspect(f.file, func(n ast.Node) bool {
		call, _ := n.(*ast.CallExpr)
		_, stmt := n.(*ast.GoStmt)
		if stmt || call != nil && selected(call.Fun) == "Go" {
			c.report(c.at(n.Pos()), "no goroutines here: write a Step and let cmd call it")
		}
		return true
	})
}

func selected(e ast.Expr) string {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		return sel.Sel.Name
	}
	return ""
}

// uses looks for names of imported packages that only their owners may use.
func (c *checker) uses(pkg string, f source) {
	imported := make(map[string]string) // by what the file calls it
	for _, spec := range f.file.Imports {
		what, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(what)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = what
	}
	foreign := slices.DeleteFunc(owned(), func(o use) bool { return fitsAny(o.in, pkg) })
	ast.Inspect(f.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, o := range foreign {
			if imported[x.Name] == o.of && slices.Contains(o.names, sel.Sel.Name) {
				c.report(c.at(sel.Pos()), "no %s.%s here: %s", path.Base(o.of), sel.Sel.Name, o.instead)
			}
		}
		return true
	})
}

func (c *checker) providerNames(f source, names []string) {
	ast.Inspect(f.file, func(n ast.Node) bool {
		var text string
		switch x := n.(type) {
		case *ast.ImportSpec:
			return false // judged by the table
		case *ast.Ident:
			text = x.Name
		case *ast.BasicLit:
			text = x.Value
		default:
			return true
		}
		for _, name := range names {
			if strings.Contains(strings.ToLower(text), name) {
				c.report(c.at(n.Pos()), "no provider's name here (%s): ask its descriptor or its capabilities", name)
			}
		}
		return true
	})
}

// below tells whether an import path is a package or lies below it.
func below(folder, p string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func fitsAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, pkg) })
}

func fits(pattern, pkg string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(pkg, "/")
	for i, w := range want {
		switch {
		case w == "...":
			return true
		case i >= len(have) || (w != "*" && w != have[i]):
			return false
		}
	}
	return len(want) == len(have)
}
