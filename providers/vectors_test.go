package providers_test

import (
	"testing"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// told is a scheme that makes whatever it is told.
var told = signing.Scheme{Name: "told", Inputs: []string{"say"}, Make: func(in *signing.Inputs) (any, error) {
	return map[string]any{"said": in.Text("say"), "n": 40, "valid": true}, nil
}}

func TestCheckVectors(t *testing.T) {
	for name, tt := range map[string]struct {
		vector string
		pass   bool
	}{
		"all":                      {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"said":"x","n":40,"valid":true}}`, true},
		"some":                     {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"n":40},"note":"for people"}`, true},
		"none":                     {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{}}`, false},
		"another text":             {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"said":"X"}}`, false},
		"a text for a number":      {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"n":"40"}}`, false},
		"a member that is missing": {`{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"other":null}}`, false},
		"nothing expected":         {`{"id":"a","scheme":"told","inputs":{"say":"x"}}`, false},
		"no id":                    {`{"scheme":"told","inputs":{"say":"x"},"expected":{"n":40}}`, false},
		"another kind":             {`{"id":"a","scheme":"told","inputs":{"say":1},"expected":{"n":40}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"[" + tt.vector + "]", `{"vectors":[` + tt.vector + "]}"} {
				got, err := providers.CheckVectors([]byte(file), []signing.Scheme{told})
				if err != nil || len(got) != 1 || got[0].Pass != tt.pass || got[0].Pass != (got[0].Err == "") && got[0].Got == nil {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	for _, file := range []string{"", "{}", "[]", "[1]", `{"vectors":{}}`, `[{"id":"a"}] x`} {
		if got, err := providers.CheckVectors([]byte(file), nil); err == nil {
			t.Errorf("%q: %+v", file, got)
		}
	}
}

func FuzzCheckVectors(f *testing.F) {
	f.Add([]byte(`{"vectors":[{"id":"a","scheme":"standard-webhooks-v1","inputs":{"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","msg_id":"m","timestamp":1,"body":""},"expected":"v1,"}]}`))
	f.Add([]byte(`[{"id":"a","scheme":"told","inputs":{"say":"x"},"expected":{"n":40}}]`))
	schemes := append(signing.WebhookSchemes(), told)
	f.Fuzz(func(t *testing.T, file []byte) {
		results, err := providers.CheckVectors(file, schemes)
		for _, r := range results {
			if err != nil || r.Pass && (r.Err != "" || r.Got == nil) {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}
