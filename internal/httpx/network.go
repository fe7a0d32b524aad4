package httpx

import "net/netip"

// Network says which addresses a target may resolve to; each value allows also what the one before it does.
//
// Never allowed: link-local, cloud metadata, carrier-grade NAT, multicast, unspecified, documentation and reserved
// ranges, and IPv6 that carries IPv4 (mapped, NAT64, 6to4, Teredo). Ranges: IANA Special-Purpose Address Registries.
type Network int

const (
	Public   Network = iota // globally routed unicast
	Private                 // RFC 1918 and fc00::/7
	Loopback                // 127.0.0.0/8 and ::1; for demo and sandbox
)

func (n Network) allows(a netip.Addr) bool {
	a = a.WithZone("")
	switch {
	case a.Is4In6(), within(a, "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::/32"): // metadata at Azure, AWS, Google
		return false
	case a.IsLoopback():
		return n == Loopback
	case a.IsPrivate():
		return n == Private || n == Loopback
	case a.Is4():
		return a.IsGlobalUnicast() && !within(a, "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24",
			"192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4")
	default: // the only IPv6 space handed out so far, without its special parts
		return within(a, "2000::/3") && !within(a, "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	}
}

func within(a netip.Addr, prefixes ...string) bool {
	for _, p := range prefixes {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}
