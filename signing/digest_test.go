package signing_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pay.taipei/gateway/signing"
)

func newDigest(t *testing.T, before, after string) *signing.Digest {
	t.Helper()
	d, err := signing.NewDigest(secret(before), secret(after))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The texts are E.SUN Bank's published cancel example, ACQ manual V2.0 (2016), and NewebPay's published CheckValue.
func TestDigest(t *testing.T) {
	for _, tt := range []struct{ before, text, after, want string }{
		{"", `{"ONO":"1462519794752","MID":"8089000016"}`, "WEGSC0Q7BAJGTQYL8BV8KRQRZXH6VK0B", "6bccb41f26cd316da4c5926b4c4f8f709f28a4950fd07ba19966b4521d3603b4"},
		{"IV=1234567&", "Amt=100&MerchantID=1422967&MerchantOrderNo=840f022", "&Key=abcdefg", "379bf1db8948ee79d8ed77a1ebcb2f57b0fd45d0376b6da9cf85f539cef1c127"},
	} {
		d := newDigest(t, tt.before, tt.after)
		tag := d.Sum(signing.Text(tt.text))
		if got := hex.EncodeToString(tag); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, got, tt.want)
		}
		if err := d.Verify(signing.Text(tt.text), tag); err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		for i := range tag {
			wantErr(t, "cut short", d.Verify(signing.Text(tt.text), tag[:i]), signing.ErrMismatch)
			tag[i] ^= 1
			wantErr(t, "another tag", d.Verify(signing.Text(tt.text), tag), signing.ErrMismatch)
			tag[i] ^= 1
		}
		wantErr(t, "another text", d.Verify(signing.Text(tt.text+" "), tag), signing.ErrMismatch)
		wantErr(t, "another key", newDigest(t, tt.before, tt.after+"x").Verify(signing.Text(tt.text), tag), signing.ErrMismatch)
	}
	if _, err := signing.NewDigest(signing.Secret{}, signing.Secret{}); err == nil {
		t.Error("a digest without a secret is made")
	}
}

func newCBC(t *testing.T, pad int) *signing.CBC {
	t.Helper()
	c, err := signing.NewCBC(secret(strings.Repeat("k", 32)), secret(strings.Repeat("v", 16)), pad)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCBCOpensWhatItSealed(t *testing.T) {
	narrow, wide := newCBC(t, 16), newCBC(t, 32)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "plain")
		for pad, c := range map[int]*signing.CBC{16: narrow, 32: wide} {
			sealed := c.Seal(plain)
			if len(sealed)%pad != 0 || len(sealed) <= len(plain) {
				t.Fatalf("%d bytes were sealed in %d", len(plain), len(sealed))
			}
			for _, opener := range []*signing.CBC{narrow, wide} {
				if got, err := opener.Open(sealed); err != nil || string(got) != string(plain) {
					t.Fatalf("%q, %v", got, err)
				}
			}
		}
	})
}

// TestCBCPadding seals blocks that end like padding, and opens them without the padding that Seal added.
func TestCBCPadding(t *testing.T) {
	c := newCBC(t, 16)
	refusals := map[string]bool{}
	for n := range 49 {
		text := []byte(strings.Repeat("a", 48-n) + strings.Repeat(string([]byte{byte(n)}), n))
		got, err := c.Open(c.Seal(text)[:48])
		if good := n >= 1 && n <= 32; good != (err == nil) || good && string(got) != string(text[:48-n]) {
			t.Errorf("padding of %d: %q, %v", n, got, err)
		}
		if err != nil {
			refusals[err.Error()] = true
		}
		if n > 1 { // the first byte of the padding is another
			text[48-n] ^= 1
			if got, err := c.Open(c.Seal(text)[:48]); err == nil {
				t.Errorf("spoilt padding of %d: %q", n, got)
			}
		}
	}
	wide := newCBC(t, 32)
	for name, bad := range map[string][]byte{
		"empty": nil, "half a block": c.Seal(nil)[:8], "a byte more": append(c.Seal(nil), 0), "padding longer than the message": wide.Seal(nil)[:16], "padding of no byte": c.Seal(make([]byte, 16))[:16],
	} {
		got, err := c.Open(bad)
		if err == nil {
			t.Errorf("%s: %q", name, got)
			continue
		}
		refusals[err.Error()] = true
	}
	if len(refusals) != 1 { // or anybody could learn the text by trying
		t.Errorf("refusals differ: %v", refusals)
	}
}

func TestNewCBCRefusesKeysOfAnotherLength(t *testing.T) {
	for _, tt := range []struct{ key, iv, pad int }{{16, 16, 16}, {31, 16, 16}, {0, 16, 16}, {32, 15, 16}, {32, 0, 16}, {32, 16, 0}, {32, 16, 8}, {32, 16, -16}, {32, 16, 48}} {
		if _, err := signing.NewCBC(secret(strings.Repeat("k", tt.key)), secret(strings.Repeat("v", tt.iv)), tt.pad); err == nil {
			t.Errorf("%+v is taken", tt)
		}
	}
}

func TestRecipe(t *testing.T) {
	fields := []signing.Field{{"b_x", "1 ~"}, {"Ba", ""}, {"a", "&=測"}, {"B", "2"}}
	for name, tt := range map[string]struct {
		recipe signing.Recipe
		want   string
	}{
		"as they come":    {signing.Recipe{}, "b_x=1 ~&Ba=&a=&=測&B=2"},
		"exact":           {signing.Recipe{SortBy: signing.Exact}, "B=2&Ba=&a=&=測&b_x=1 ~"},
		"without case":    {signing.Recipe{SortBy: strings.ToLower}, "a=&=測&B=2&b_x=1 ~&Ba="},
		"upper case":      {signing.Recipe{SortBy: strings.ToUpper}, "a=&=測&B=2&Ba=&b_x=1 ~"},
		"without empties": {signing.Recipe{SkipEmpty: true}, "b_x=1 ~&a=&=測&B=2"},
		"encoded":         {signing.Recipe{SortBy: signing.Exact, Encode: signing.FormEncode}, "B=2&Ba=&a=%26%3D%E6%B8%AC&b_x=1+%7E"},
	} {
		if got := string(tt.recipe.Text(fields)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if fields[0].Name != "b_x" || fields[1].Name != "Ba" {
		t.Errorf("the caller's fields are changed: %v", fields)
	}
}

// FormEncode is PHP's urlencode: the example of ECPay-API-Skill test-vectors/url-encode-comparison.json.
func TestFormEncode(t *testing.T) {
	if got := signing.FormEncode("Items (Special)~Test"); got != "Items+%28Special%29%7ETest" {
		t.Error(got)
	}
}
