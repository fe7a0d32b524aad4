package httpx

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestNetworkAllows(t *testing.T) {
	const nobody = Network(-1)
	for address, least := range map[string]Network{
		"1.1.1.1": Public, "203.66.91.1": Public, "2606:4700::1111": Public, "2001:b000::1": Public, "2400:cb00::1": Public,
		"10.0.0.1": Private, "172.16.0.1": Private, "172.31.255.255": Private, "192.168.1.1": Private, "fd00::1": Private, "fc00::1": Private,
		"127.0.0.1": Loopback, "127.255.255.254": Loopback, "::1": Loopback,
		"172.15.255.255": Public, "172.32.0.1": Public, "100.63.255.255": Public, "100.128.0.1": Public, // the neighbours

		"0.0.0.0": nobody, "0.1.2.3": nobody, "::": nobody, "255.255.255.255": nobody, "240.0.0.1": nobody,
		"169.254.169.254": nobody, "169.254.0.1": nobody, "fe80::1": nobody, "fe80::1%eth0": nobody, "fec0::1": nobody,
		"168.63.129.16": nobody, "fd00:ec2::254": nobody, "fd20:ce::254": nobody, "192.0.0.192": nobody,
		"100.64.0.1": nobody, "100.100.100.200": nobody, "100.127.255.255": nobody,
		"224.0.0.1": nobody, "239.1.1.1": nobody, "ff02::1": nobody, "ff0e::1": nobody,
		"192.0.2.1": nobody, "198.51.100.1": nobody, "203.0.113.1": nobody, "198.18.0.1": nobody, "198.19.255.255": nobody,
		"192.88.99.1": nobody, "2001:db8::1": nobody, "3fff::1": nobody, "100::1": nobody, "5f00::1": nobody,
		"::ffff:127.0.0.1": nobody, "::ffff:10.0.0.1": nobody, "::ffff:8.8.8.8": nobody, "::ffff:169.254.169.254": nobody, "::127.0.0.1": nobody,
		"64:ff9b::7f00:1": nobody, "64:ff9b::a9fe:a9fe": nobody, "64:ff9b::808:808": nobody, "64:ff9b:1::1": nobody,
		"2002:7f00:1::1": nobody, "2002:a9fe:a9fe::1": nobody, "2001::1": nobody, "2001:0:7f00:1::": nobody,
	} {
		a := netip.MustParseAddr(address)
		for _, n := range []Network{Public, Private, Loopback} {
			if want := least != nobody && n >= least; n.allows(a) != want {
				t.Errorf("%v in network %d: got %v, want %v", a, n, !want, want)
			}
		}
		if (Network(99)).allows(a) && least != Public {
			t.Errorf("%v in an unknown network", a)
		}
	}
}

// A name server may say anything, and something else a moment later: only what comes out of the resolver counts.
func TestResolvedAddressIsChecked(t *testing.T) {
	p := newPeer(t, say(okAnswer))
	_, port, _ := strings.Cut(p.listener.Addr().String(), ":")
	for _, ip := range []string{"127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"} {
		_, err := newClient(t, "https://bank.test:"+port, resolving(ip), public).Send(within30s(t), post("/"))
		if !NotSent(err) || !strings.Contains(err.Error(), "address refused") {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for _, ip := range []string{"169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "0.0.0.0", "::", "fd00:ec2::254", "100.64.0.1"} {
		_, err := newClient(t, "http://bank.test:"+port, resolving(ip)).Send(within30s(t), post("/"))
		if !NotSent(err) || !strings.Contains(err.Error(), "address refused") {
			t.Errorf("%s: %v", ip, err)
		}
	}
	requests, _ := p.arrived()
	if len(requests) != 0 {
		t.Errorf("%d requests arrived", len(requests))
	}
}

// The C library reads these as 127.0.0.1; Go's own resolver knows no such host.
func TestOddSpellingsOfAnAddressDoNotLeadInside(t *testing.T) {
	p := newPeer(t, say(okAnswer))
	_, port, _ := strings.Cut(p.listener.Addr().String(), ":")
	for _, host := range []string{"2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1"} {
		for name, resolver := range map[string]option{"system": func(*Config, *Deps) {}, "Go": resolving("127.0.0.1")} {
			_, err := newClient(t, "https://"+host+":"+port, resolver, public).Send(within30s(t), post("/"))
			if !NotSent(err) {
				t.Errorf("%s, resolver %s: %v", host, name, err)
			}
			t.Log(host, name, err)
		}
	}
	requests, _ := p.arrived()
	if len(requests) != 0 {
		t.Errorf("%d requests arrived", len(requests))
	}
}

func TestNewRefuses(t *testing.T) {
	deps := Deps{Now: time.Now, Rand: func() uint64 { return 0 }}
	for base, networks := range map[string][]Network{
		"https://bank.test":                       {Public, Private, Loopback},
		"https://bank.test:8443":                  {Public, Private, Loopback},
		"https://1.1.1.1":                         {Public, Private, Loopback},
		"http://bank.test":                        {Private, Loopback},
		"https://10.0.0.1":                        {Private, Loopback},
		"http://[::1]:80":                         {Loopback},
		"http://127.0.0.1:80":                     {Loopback},
		"https://169.254.169.254":                 {},
		"https://[fe80::1%25eth0]":                {},
		"":                                        {},
		"bank.test":                               {},
		"//bank.test":                             {},
		"https:bank.test":                         {},
		"https://":                                {},
		"https://:443":                            {},
		"ftp://bank.test":                         {},
		"https://bank.test/":                      {},
		"https://bank.test/v3":                    {},
		"https://bank.test?a":                     {},
		"https://bank.test?":                      {},
		"https://user:" + canary + "@bank.test":   {},
		"https://user:" + canary + "@bank.test:x": {},
		"https://熊讚.test":                         {},
	} {
		for _, n := range []Network{Public, Private, Loopback} {
			want := false
			for _, ok := range networks {
				want = want || ok == n
			}
			c, err := New(Config{Name: "bank", BaseURL: base, Network: n}, deps)
			if (err == nil) != want || (c != nil) != want {
				t.Errorf("%q in network %d: %v", base, n, err)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error repeats a password: %v", err)
			}
		}
	}
	for name, c := range map[string]struct {
		name string
		deps Deps
	}{"name": {"", deps}, "clock": {"bank", Deps{Rand: deps.Rand}}, "jitter": {"bank", Deps{Now: deps.Now}}} {
		if _, err := New(Config{Name: c.name, BaseURL: "https://bank.test"}, c.deps); err == nil {
			t.Errorf("accepted without %s", name)
		}
	}
}
