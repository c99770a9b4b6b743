package gatepost

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"gatepost/internal/tables"
)

const (
	// preferredLine is where long lines are folded if they can be (RFC 5322 §2.1.1).
	preferredLine = 78
	// longestWord counts the octets of an encoded word with its delimiters (RFC 2047 §2).
	longestWord = 75
)

// splitFolds gives the lines of a folded value: CRLF ends one only where a space or TAB follows.
func splitFolds(value string) []string {
	var lines []string
	for start, from := 0, 0; ; {
		found := strings.Index(value[from:], "\r\n")
		if found < 0 {
			return append(lines, value[start:])
		}
		end := from + found
		from = end + 2
		if from < len(value) && (value[from] == ' ' || value[from] == '\t') {
			lines = append(lines, value[start:end])
			start = from
		}
	}
}

func isASCII(text string) bool {
	for at := 0; at < len(text); at++ {
		if text[at] > 127 {
			return false
		}
	}
	return true
}

// legal is what may follow the colon of a field whose name has so many octets (RFC 5322 §2.1.1, RFC 2047, RFC 6532).
//
// NUL is left out, and so are CR and LF that fold nothing. Lines of white space alone are unfolded. Octets above 127 become
// encoded words where the message has no SMTPUTF8. A line over 998 octets is folded at its white space, and within a word
// that is longer than that.
func legal(value string, nameOctets int, allows8Bit bool) string {
	if strings.ContainsAny(value, "\r\n\x00") {
		var kept strings.Builder
		for index, line := range splitFolds(value) {
			line = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(line)
			if index > 0 && strings.Trim(line, " \t") != "" {
				kept.WriteString("\r\n")
			}
			kept.WriteString(line)
		}
		value = kept.String()
	}
	if !allows8Bit && !isASCII(value) {
		value = encoded(value)
	}
	if nameOctets+2+len(value) <= tables.LimitHeaderLineOctets {
		return value
	}
	lines := splitFolds(value)
	for index, line := range lines {
		before := 0
		if index == 0 {
			before = nameOctets + 1 + len(spaced(line)) - len(line)
		}
		lines[index] = folded(line, before)
	}
	return strings.Join(lines, "\r\n")
}

var gapOrWord = regexp.MustCompile(`[ \t\r\n]+|[^ \t\r\n]+`)

// encoded makes each run of words with octets above 127 encoded words. White space between two encoded words is not shown
// (RFC 2047 §6.2), so what stands between such words goes into them.
func encoded(value string) string {
	var result, run strings.Builder
	gap := ""
	end := func() {
		result.WriteString(words(run.String()))
		run.Reset()
		result.WriteString(gap)
		gap = ""
	}
	for _, piece := range gapOrWord.FindAllString(value, -1) {
		switch {
		case strings.ContainsAny(piece[:1], " \t\r\n"):
			gap = piece
		case isASCII(piece):
			end()
			result.WriteString(piece)
		case run.Len() > 0:
			run.WriteString(strings.NewReplacer("\r", "", "\n", "").Replace(gap) + piece)
			gap = ""
		default:
			result.WriteString(gap)
			gap = ""
			run.WriteString(piece)
		}
	}
	end()
	return result.String()
}

// words is text as encoded words of whole characters, folded between them.
func words(text string) string {
	if text == "" {
		return ""
	}
	start, isUTF8 := "=?UTF-8?Q?", utf8.ValidString(text)
	if !isUTF8 {
		start = "=?unknown-8bit?Q?"
	}
	result := []string{start}
	for text != "" {
		size := 1
		if isUTF8 {
			_, size = utf8.DecodeRuneInString(text)
		}
		var quoted strings.Builder
		for at := 0; at < size; at++ {
			switch octet := text[at]; {
			case octet >= '0' && octet <= '9', octet >= 'A' && octet <= 'Z', octet >= 'a' && octet <= 'z':
				quoted.WriteByte(octet)
			case octet == ' ':
				quoted.WriteByte('_')
			default:
				fmt.Fprintf(&quoted, "=%02X", octet)
			}
		}
		if len(result[len(result)-1])+quoted.Len()+2 > longestWord {
			result = append(result, start)
		}
		result[len(result)-1] += quoted.String()
		text = text[size:]
	}
	return strings.Join(result, "?=\r\n ") + "?="
}

var spaceAndWord = regexp.MustCompile(`([ \t]*)([^ \t]+)`)

// folded is a line folded to at most 998 octets; so many octets stand before it.
func folded(line string, before int) string {
	if before+len(line) <= tables.LimitHeaderLineOctets {
		return line
	}
	var lines []string
	current := ""
	for _, found := range spaceAndWord.FindAllStringSubmatch(strings.TrimRight(line, " \t"), -1) {
		space, rest := found[1], found[2]
		if len(space) > preferredLine {
			space = space[:preferredLine]
		}
		taken := before
		if len(lines) > 0 {
			taken = 0
		}
		if current != "" && taken+len(current)+len(space)+len(rest) > preferredLine {
			lines = append(lines, current)
			current = ""
		}
		for {
			room := tables.LimitHeaderLineOctets - len(current)
			if len(lines) == 0 {
				room -= before
			}
			if len(space)+len(rest) <= room {
				break
			}
			stop := room - len(space)
			if stop > 0 {
				lines = append(lines, current+space+rest[:stop])
				rest = rest[stop:]
				space = " "
			} else {
				lines = append(lines, current)
				if space == "" {
					space = " "
				}
			}
			current = ""
		}
		current += space + rest
	}
	return strings.Join(append(lines, current), "\r\n")
}
