package all_test

import (
	"os"
	"path/filepath"
	"testing"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
)

// vectorFiles are those of the adapters and of the families.
func vectorFiles() ([]string, error) {
	adapters, err := filepath.Glob("../*/testdata/vectors.json")
	if err != nil {
		return nil, err
	}
	families, err := filepath.Glob("../internal/*/testdata/vectors.json")
	return append(adapters, families...), err
}

// TestVectors makes every vector in the providers' folders again, and wants one at least for every scheme of theirs.
func TestVectors(t *testing.T) {
	files, err := vectorFiles()
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	shown := map[string]bool{"standard-webhooks-v1": true, "standard-webhooks-v1a": true} // in package signing
	ids := map[string]bool{}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		results, err := providers.CheckVectors(file, all.Schemes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range results {
			shown[r.Scheme] = true
			if !r.Pass || r.Source == "" || ids[r.ID] {
				t.Errorf("%s: %+v", name, r)
			}
			ids[r.ID] = true
		}
	}
	for _, s := range all.Schemes() {
		if !shown[s.Name] {
			t.Errorf("no vector shows %s", s.Name)
		}
	}
}

// FuzzVectors: no vector, however hostile, stops the tool.
func FuzzVectors(f *testing.F) {
	files, err := vectorFiles()
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	schemes := all.Schemes()
	f.Fuzz(func(t *testing.T, file []byte) {
		results, err := providers.CheckVectors(file, schemes)
		for _, r := range results {
			if err != nil || r.Pass && r.Err != "" {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}
