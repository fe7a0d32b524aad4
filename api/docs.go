package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the description and its page are part of the binary
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var openapi []byte

//go:embed docs.tmpl
var docsTemplate string

//go:embed docs.css
var docsStyle string

// pages are the documents that never change while the process runs: the description as written, and a page of it that
// needs neither script nor network.
type pages struct{ description, docs page }

type page struct {
	mediaType, policy string
	body              []byte
}

func (p page) response() (response, error) {
	return response{status: http.StatusOK, mediaType: p.mediaType, policy: p.policy, body: p.body}, nil
}

func (s *Server) getDescription(r *request) (response, error) {
	if _, err := r.query(); err != nil {
		return response{}, err
	}
	return s.pages.description.response()
}

func (s *Server) getDocs(r *request) (response, error) {
	if _, err := r.query(); err != nil {
		return response{}, err
	}
	return s.pages.docs.response()
}

// description is what the page reads of openapi.yaml; everything else is in the full text at its end.
type description struct {
	Info       struct{ Title, Version, Description string }
	Paths      map[string]map[string]operation
	Webhooks   map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]answerText
		Schemas    map[string]schema
	}
}

type parameter struct {
	Ref                   string `yaml:"$ref"`
	Name, In, Description string
	Required              bool
}

type operation struct {
	Summary, Description string
	Parameters           []parameter
	RequestBody          struct {
		Content map[string]struct {
			Example example
			Schema  schema
		}
	} `yaml:"requestBody"`
	Responses map[string]answerText
}

type answerText struct {
	Ref         string `yaml:"$ref"`
	Description string
	Content     map[string]struct{ Example example }
}

// example is a value of the description as indented JSON.
type example string

// UnmarshalYAML keeps the order of the members as written.
func (e *example) UnmarshalYAML(text []byte) error {
	compact, err := yaml.YAMLToJSON(text)
	if err != nil {
		return fmt.Errorf("api: example: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(compact), "", "  "); err != nil {
		return fmt.Errorf("api: example: %w", err)
	}
	*e = example(b.String())
	return nil
}

// docsPage is what docs.tmpl shows.
type docsPage struct {
	Title, Version string
	Intro          []string
	Style          template.CSS
	Operations     []operationPage
	Events         []eventPage
	Problems       []problemPage
	FieldCodes     []string
	YAML           string
}

type operationPage struct {
	ID, Method, Path string
	Auth             Auth
	operation
	Notes   []string
	Request string
	Fields  []fieldPage
	Answers []answerPage
}

type fieldPage struct {
	Name     string // with the names above it: amount.value, lines[].bill_no
	Required bool   // whenever what holds it is there
	Limits   string
	Patterns []string
	Meaning  string
}

type answerPage struct{ Status, Description, Example string }

type eventPage struct{ Name, Summary string }

type problemPage struct {
	Code, Detail, DetailZH string
	Status                 int
}

func renderPages() (pages, error) {
	d, err := parseDescription()
	if err != nil {
		return pages{}, err
	}
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return pages{}, fmt.Errorf("api: docs: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d.page()); err != nil {
		return pages{}, fmt.Errorf("api: docs: %w", err)
	}
	sum := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return pages{page{mediaType: "application/yaml", body: openapi}, page{"text/html; charset=utf-8", policy, b.Bytes()}}, nil
}

func parseDescription() (description, error) {
	var d description
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		return d, fmt.Errorf("api: openapi.yaml: %w", err)
	}
	return d, nil
}

func (d *description) page() docsPage {
	p := docsPage{
		Title: d.Info.Title, Version: d.Info.Version, Intro: paragraphs(d.Info.Description), YAML: string(openapi),
		Style:      template.CSS(docsStyle), //nolint:gosec // our own file, embedded
		FieldCodes: d.Components.Schemas["FieldError"].property("code").Enum,
	}
	for _, r := range Routes() {
		method := strings.ToLower(r.Method)
		op := operationPage{ID: method + r.Path, Method: r.Method, Path: r.Path, Auth: r.Auth, operation: d.Paths[r.Path][method]}
		if op.Description != "" {
			op.Notes = paragraphs(op.Description)
		}
		for i, q := range op.Parameters {
			if name, ok := strings.CutPrefix(q.Ref, "#/components/parameters/"); ok {
				op.Parameters[i] = d.Components.Parameters[name]
			}
		}
		body := op.RequestBody.Content[mediaJSON]
		op.Request, op.Fields = string(body.Example), d.fields("", body.Schema)
		for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
			a := op.Responses[status]
			if name, ok := strings.CutPrefix(a.Ref, "#/components/responses/"); ok {
				a = d.Components.Responses[name]
			}
			op.Answers = append(op.Answers, answerPage{status, a.Description, string(a.Content[mediaJSON].Example)})
		}
		p.Operations = append(p.Operations, op)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Webhooks)) {
		p.Events = append(p.Events, eventPage{name, d.Webhooks[name]["post"].Summary})
	}
	for _, code := range d.Components.Schemas["Problem"].property("code").Enum {
		w := words(code)
		p.Problems = append(p.Problems, problemPage{code, w.detail, w.detZH, w.status})
	}
	return p
}

func paragraphs(text string) []string {
	return strings.Split(strings.TrimSpace(text), "\n\n")
}
