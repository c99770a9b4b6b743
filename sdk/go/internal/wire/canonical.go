package wire

import (
	"sort"
	"strconv"
	"strings"
	"sync"
)

var canonical struct {
	once    sync.Once
	parts   map[rune][]rune
	classes map[rune]int
}

func hexadecimal(text string) rune {
	value, _ := strconv.ParseUint(text, 16, 32)
	return rune(value)
}

func loadCanonical() {
	canonical.parts = map[rune][]rune{}
	canonical.classes = map[rune]int{}
	for _, entry := range strings.Fields(decompositions) {
		whole, parts, _ := strings.Cut(entry, ":")
		for _, part := range strings.Split(parts, ",") {
			canonical.parts[hexadecimal(whole)] = append(canonical.parts[hexadecimal(whole)], hexadecimal(part))
		}
	}
	for _, entry := range strings.Fields(combiningClasses) {
		class, ranges, _ := strings.Cut(entry, ":")
		number, _ := strconv.Atoi(class)
		for _, each := range strings.Split(ranges, ",") {
			first, last, isRange := strings.Cut(each, "-")
			if !isRange {
				last = first
			}
			for character := hexadecimal(first); character <= hexadecimal(last); character++ {
				canonical.classes[character] = number
			}
		}
	}
}

// Canonical is the canonical decomposition of a text (NFD): two texts that differ only in Unicode composition have the same.
func Canonical(text string) string {
	isASCII := true
	for at := 0; at < len(text); at++ {
		isASCII = isASCII && text[at] < 0x80
	}
	if isASCII {
		return text
	}
	canonical.once.Do(loadCanonical)
	var whole []rune
	for _, character := range text {
		if parts, isComposed := canonical.parts[character]; isComposed {
			whole = append(whole, parts...)
		} else if index := character - 0xac00; index >= 0 && index < 11172 {
			whole = append(whole, 0x1100+index/588, 0x1161+index%588/28)
			if index%28 > 0 {
				whole = append(whole, 0x11a7+index%28)
			}
		} else {
			whole = append(whole, character)
		}
	}
	for start := 0; start < len(whole); {
		end := start
		for end < len(whole) && canonical.classes[whole[end]] > 0 {
			end++
		}
		marks := whole[start:end]
		sort.SliceStable(marks, func(a, b int) bool { return canonical.classes[marks[a]] < canonical.classes[marks[b]] })
		start = end + 1
	}
	return string(whole)
}
