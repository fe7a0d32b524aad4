package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// schema is what the page reads of the description of a value.
type schema struct {
	Ref         string `yaml:"$ref"`
	Type        any    // a word, or several
	Description string
	Pattern     string
	Default     any
	Enum        []string
	Minimum     int
	Maximum     int
	MinLength   int `yaml:"minLength"`
	MaxLength   int `yaml:"maxLength"`
	MinItems    int `yaml:"minItems"`
	MaxItems    int `yaml:"maxItems"`
	Items       *schema
	OneOf       []schema `yaml:"oneOf"`
	Required    []string
	Properties  properties
}

// properties are the members of an object, as written.
type properties []property

type property struct {
	name string
	schema
}

// UnmarshalYAML keeps the order of the members.
func (p *properties) UnmarshalYAML(text []byte) error {
	var order yaml.MapSlice
	var members map[string]schema
	if err := yaml.Unmarshal(text, &order); err != nil {
		return fmt.Errorf("api: properties: %w", err)
	}
	if err := yaml.Unmarshal(text, &members); err != nil {
		return fmt.Errorf("api: properties: %w", err)
	}
	for _, m := range order {
		name := fmt.Sprint(m.Key)
		*p = append(*p, property{name, members[name]})
	}
	return nil
}

// property is a member; the zero value when there is none.
func (s schema) property(name string) schema {
	for _, p := range s.Properties {
		if p.name == name {
			return p.schema
		}
	}
	return schema{}
}

// resolve follows a reference. What stands beside the reference wins.
func (d *description) resolve(s schema) schema {
	name, isRef := strings.CutPrefix(s.Ref, "#/components/schemas/")
	if !isRef {
		return s
	}
	to := d.Components.Schemas[name]
	if s.Description != "" {
		to.Description = s.Description
	}
	return to
}

// fields are the members of an object and of the objects in it, one row each; an object itself only if it may be missing.
func (d *description) fields(within string, of schema) (rows []fieldPage) {
	of = d.resolve(of)
	for _, p := range of.Properties {
		s, name := d.resolve(p.schema), within+p.name
		inner := d.fields(name+".", s)
		if s.Items != nil {
			inner = d.fields(name+"[].", *s.Items)
		}
		required := slices.Contains(of.Required, p.name)
		if s.Items != nil || len(inner) == 0 || !required {
			row := fieldPage{Name: name, Required: required, Meaning: s.Description}
			row.Limits, row.Patterns = d.limits(s)
			rows = append(rows, row)
		}
		rows = append(rows, inner...)
	}
	return rows
}

// limits say in words what a value may be, and which patterns it must match.
func (d *description) limits(s schema) (words string, patterns []string) {
	s = d.resolve(s)
	var parts, choices []string
	if len(s.OneOf) == 0 {
		parts = append(parts, fmt.Sprint(s.Type))
	}
	for _, choice := range s.OneOf {
		text, more := d.limits(choice)
		choices, patterns = append(choices, text), append(patterns, more...)
	}
	if len(choices) > 0 {
		parts = append(parts, strings.Join(choices, ", or "))
	}
	for _, r := range []struct {
		from, to int
		what     string
	}{{s.MinLength, s.MaxLength, " characters"}, {s.MinItems, s.MaxItems, " entries"}, {s.Minimum, s.Maximum, ""}} {
		switch {
		case r.from > 0 && r.to > 0:
			parts = append(parts, fmt.Sprintf("%d to %d%s", r.from, r.to, r.what))
		case r.to > 0:
			parts = append(parts, fmt.Sprintf("at most %d%s", r.to, r.what))
		case r.from > 0:
			parts = append(parts, fmt.Sprintf("%d or more%s", r.from, r.what))
		}
	}
	if s.Pattern != "" {
		patterns = append(patterns, s.Pattern)
	}
	if s.Items != nil {
		patterns = append(patterns, d.resolve(*s.Items).Pattern)
	}
	if len(s.Enum) > 0 {
		parts = append(parts, "only "+strings.Join(s.Enum, " or "))
	}
	if s.Default != nil {
		parts = append(parts, fmt.Sprintf("default %v", s.Default))
	}
	patterns = slices.DeleteFunc(patterns, func(p string) bool { return p == "" })
	return strings.Join(parts, ", "), slices.Compact(patterns)
}
