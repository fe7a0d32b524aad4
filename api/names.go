package api

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the length of a line's name in characters.
const maxName = 60

// textProblem is the code of what is wrong with a text for people of at most so many characters, or empty. Such texts, names
// of lines and reasons of refunds, are signed and shown by providers, some of whose schemes join fields with & and =, so
// characters that could end or start a field never get near a signature.
func textProblem(text string, most int) string {
	switch {
	case strings.TrimSpace(text) == "":
		return codeRequired
	case utf8.RuneCountInString(text) > most:
		return codeTooLong
	case strings.ContainsFunc(text, unsafeInText):
		return codeCharacter
	case holdsCardNumber(text):
		return codeCardNumber
	}
	return ""
}

// unsafeInText holds for control characters, format characters (bidirectional overrides, zero width), line separators and
// the marks of field-signed schemes.
func unsafeInText(r rune) bool {
	return strings.ContainsRune("&=<>%", r) || r == utf8.RuneError ||
		unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// holdsCardNumber says whether consecutive groups of digits, apart by single separators, form 13 to 19 digits that pass the
// check of card numbers. It guards against accidents: the gateway must never hold a card number. Our own numbers (order,
// bill, reference) are not looked at, for one in ten would pass by chance.
func holdsCardNumber(s string) bool {
	for _, groups := range digitGroups(s) {
		for from := range groups {
			joined := ""
			for _, group := range groups[from:] {
				joined += group
				if len(joined) > 19 {
					break
				}
				if len(joined) >= 13 && luhn(joined) {
					return true
				}
			}
		}
	}
	return false
}

// digitGroups are the runs of digits in s, those apart by one separator together. Full-width digits count as digits.
func digitGroups(s string) [][]string {
	var all [][]string
	apart := maxName // characters since the last digit
	for _, r := range s {
		if r >= '０' && r <= '９' {
			r -= '０' - '0'
		}
		switch {
		case r < '0' || r > '9':
			if !strings.ContainsRune(" -‐–－.·_　", r) {
				apart = maxName
			}
			apart++
			continue
		case apart > 1:
			all = append(all, []string{string(r)})
		case apart == 1:
			last := &all[len(all)-1]
			*last = append(*last, string(r))
		default:
			groups := all[len(all)-1]
			groups[len(groups)-1] += string(r)
		}
		apart = 0
	}
	return all
}

// luhn holds the check digit rule of ISO/IEC 7812-1 over ASCII digits.
func luhn(digits string) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
