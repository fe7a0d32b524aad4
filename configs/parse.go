package configs

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Problem is one thing wrong with a configuration file.
type Problem struct {
	Path    string // such as clients[0].keys[1].sha256
	What    string // and what to do
	Line    int    // from 1; 0: the setting is missing
	Excerpt string // the line with a caret; empty when it is missing
}

// Problems is everything wrong with a file. It is an error.
type Problems []Problem

// Error shows all problems, each with its line and a caret.
func (p Problems) Error() string {
	var b strings.Builder
	for _, x := range p {
		if x.Line > 0 {
			fmt.Fprintf(&b, "line %d: %s: %s\n%s", x.Line, x.Path, x.What, x.Excerpt)
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", x.Path, x.What)
	}
	return strings.TrimRight(b.String(), "\n")
}

// Check finds what only other packages know to be wrong, and reports it with the path of
// the setting, such as accounts[0].settings. c may hold what Parse has refused already;
// more about the same setting is dropped. An error that is Problems says its own places.
// The error's text must hold no secret.
type Check func(c *Config, report func(path string, err error))

// Load reads and parses a file. The error is Problems unless the file cannot be read.
func Load(path string, checks ...Check) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	return Parse(src, checks...)
}

// Parse reads a configuration. The error is Problems. It reads the files that *_file
// settings name. No error shows a secret: of the file's text only settings that cannot
// hold one are quoted.
func Parse(src []byte, checks ...Check) (*Config, error) {
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		return nil, append(Problems{}, decodeProblem("file", err))
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, Problems{{Path: "file", What: "want exactly one YAML document that is not empty"}}
	}
	body := file.Docs[0].Body
	if _, ok := body.(*ast.MappingNode); !ok {
		t := body.GetToken()
		return nil, Problems{{Path: "file", What: "want settings at the top, such as environment: sandbox", Line: t.Position.Line, Excerpt: around(t)}}
	}
	c := defaults()
	v := &validator{body: body}
	if ast.Walk(v, body); len(v.problems) > 0 {
		return nil, v.problems
	}
	v.shape(body, reflect.TypeFor[Config](), "")
	if err := yaml.NodeToValue(body, &c); err != nil {
		return nil, append(v.problems, decodeProblem("file", err))
	}
	v.config(&c)
	for _, check := range checks {
		check(&c, v.found)
	}
	if len(v.problems) > 0 {
		return nil, v.problems
	}
	return &c, nil
}

// Decode fills an adapter's own settings struct from the account's block, refusing
// unknown keys. The error is Problems and quotes no values: which of them are secret is
// the adapter's knowledge.
func (a *Account) Decode(settings any) error {
	path := "account " + a.Name + ": settings"
	if a.Settings.node == nil {
		return Problems{{Path: path, What: "required"}}
	}
	body := a.Settings.node()
	v := &validator{body: body}
	v.shape(body, reflect.TypeOf(settings), path)
	if err := yaml.NodeToValue(body, settings); err != nil {
		v.problems = append(v.problems, decodeProblem(path, err))
	}
	if len(v.problems) > 0 {
		return v.problems
	}
	return nil
}

// decodeProblem is the YAML library's own complaint, such as text where a list belongs,
// without the lines of the file that it would quote.
func decodeProblem(path string, err error) Problem {
	p := Problem{Path: path, What: "cannot be read as YAML"}
	var y yaml.Error
	if errors.As(err, &y) {
		p.What = y.GetMessage()
		if t := y.GetToken(); t != nil {
			p.Line = t.Position.Line
			p.Excerpt = around(t)
		}
	}
	return p
}

// around is a place in the file: the setting's name, if there is one, and a caret.
func around(t *token.Token) string {
	shown := fmt.Sprintf("  %d | ", t.Position.Line)
	if colon := t.Prev; colon != nil && colon.Type == token.MappingValueType && colon.Prev != nil {
		shown += printable(colon.Prev.Value) + ": "
	}
	return shown + "…\n" + strings.Repeat(" ", utf8.RuneCountInString(shown)) + "^\n"
}

// printable is a key as written, unless it looks more like a value in a wrong place.
func printable(key string) string {
	if !unknownForm.MatchString(key) {
		return "…"
	}
	return key
}

// Visit reports YAML's ways to write a value elsewhere or to change its type. They would
// hide a setting from the checks, and the YAML library falls over some of them.
func (v *validator) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		v.report(n, strings.TrimPrefix(n.GetPath(), "$."), "no anchors, aliases or tags here: write the value itself", false)
		return nil
	}
	return v
}

// shape reports every key that no setting has, and text that YAML takes for a number
// (0012 would become 10). It does not look into raw blocks.
func (v *validator) shape(n ast.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Settings]() {
		return
	}
	switch node := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if t.Kind() == reflect.String || t == reflect.TypeFor[Secret]() {
			v.report(n, path, "YAML reads this as a number or a truth value and changes it: put it in quotes", false)
		}
	case *ast.MappingNode:
		for _, pair := range node.Values {
			key := pair.Key.GetToken().Value
			if t.Kind() == reflect.Map {
				v.shape(pair.Value, t.Elem(), join(path, key))
				continue
			}
			if t.Kind() != reflect.Struct {
				return
			}
			field, ok := fieldOf(t, key)
			if !ok {
				v.report(pair.Key, join(path, printable(key)), "unknown setting: remove it or correct its spelling", false)
				continue
			}
			v.shape(pair.Value, field.Type, join(path, key))
		}
	case *ast.SequenceNode:
		if t.Kind() != reflect.Slice {
			return
		}
		for i, item := range node.Values {
			v.shape(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("yaml") == key && key != "-" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
