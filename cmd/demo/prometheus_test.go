package main

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pay.taipei/gateway/internal/testkit"
)

// A real Prometheus scrapes the city with the example's rules, and sees the money flow.
func TestPrometheusScrapesTheCity(t *testing.T) {
	_, err := exec.LookPath("prometheus")
	testkit.Require(t, "prometheus (Debian: apt-get install prometheus; make services does it)", err)
	city := openTestCity(t)
	p := walkToPayment(t, city)
	if err := p.pay(t.Context()); err != nil {
		t.Fatal(err)
	}
	returned(t, p)

	dir := t.TempDir()
	example, err := os.ReadFile("../../configs/prometheus/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../../configs/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("127.0.0.1:9090", city.addresses.ops, "15s", "1s", "[rules.yaml]", "["+rules+"]").Replace(string(example))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	cmd := exec.CommandContext(t.Context(), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for _, query := range []string{
		`up{job="gateway"} == 1`,
		`sum(gateway_paid_total{account="bravobank-main"}) == 1`,
		`gateway_order_moves_total{to="paid"} == 1`,
		`gateway_breaker_state{account="bravobank-second",op="query"} == 0`,
		`gateway:paid:ratio30m or vector(1)`,
	} {
		testkit.Until(t, query, func() bool {
			text, err := p.get(t.Context(), "http://"+address+"/api/v1/query?query="+url.QueryEscape(query))
			var answer struct {
				Data struct {
					Result []json.RawMessage `json:"result"`
				} `json:"data"`
			}
			return err == nil && json.Unmarshal([]byte(text), &answer) == nil && len(answer.Data.Result) > 0
		})
	}
	testkit.Until(t, "every rule is evaluated without an error", func() bool {
		text, err := p.get(t.Context(), "http://"+address+"/api/v1/rules")
		return err == nil && strings.Contains(text, `"health":"ok"`) && !strings.Contains(text, `"health":"err"`) && !strings.Contains(text, `"health":"unknown"`)
	})
	firing, err := p.get(t.Context(), "http://"+address+"/api/v1/alerts")
	if err != nil || strings.Contains(firing, `"state":"firing"`) {
		t.Errorf("a healthy city alarms: %s, %v", firing, err)
	}
}

// freeAddress is an address on loopback that nobody listens at now.
func freeAddress(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
