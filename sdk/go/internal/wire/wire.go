// Package wire reads and writes lines strictly (protocol/README.md §1). Integers are int64, other numbers float64, objects
// map[string]any, lists []any.
package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatepost/internal/tables"
)

// ProtocolError says that the peer broke the protocol: the connection ends with bye and this code.
type ProtocolError struct{ Code, Message string }

func (e *ProtocolError) Error() string { return e.Code + ": " + e.Message }

func bad(message string) error { return &ProtocolError{"bad_frame", message} }

// ParseLine is the message on this line, with or without its LF. A number that is spelled 1.0 is no integer, but a float64.
// The error is a *ProtocolError.
func ParseLine(line []byte) (map[string]any, error) {
	if !utf8.Valid(line) {
		return nil, bad("not UTF-8")
	}
	if !json.Valid(line) {
		return nil, bad("not JSON")
	}
	value, err := (&parser{text: string(line)}).value()
	if err != nil {
		return nil, err
	}
	message, isObject := value.(map[string]any)
	if !isObject {
		return nil, bad("not an object")
	}
	return message, nil
}

// parser reads a text that encoding/json has found valid, and sees what that hides: keys twice, U+0000 in a key, lone
// surrogates, depth, and how numbers are spelled.
type parser struct {
	text  string
	at    int
	depth int
}

// next is the octet that begins the next token; 0 at the end.
func (p *parser) next() byte {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return p.text[p.at]
		}
	}
	return 0
}

func (p *parser) value() (any, error) {
	switch p.next() {
	case '{':
		return p.object()
	case '[':
		return p.list()
	case '"':
		return p.string()
	case 't':
		p.at += len("true")
		return true, nil
	case 'f':
		p.at += len("false")
		return false, nil
	case 'n':
		p.at += len("null")
		return nil, nil
	}
	return p.number()
}

func (p *parser) enter() error {
	p.at++
	p.depth++
	if p.depth > tables.LimitNesting {
		return bad(fmt.Sprintf("nesting over %d", tables.LimitNesting))
	}
	return nil
}

func (p *parser) object() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	object := map[string]any{}
	for {
		switch p.next() {
		case '}':
			p.at++
			p.depth--
			return object, nil
		case ',':
			p.at++
			continue
		case 0:
			return nil, bad("not JSON")
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if strings.IndexByte(key, 0) >= 0 {
			return nil, bad("U+0000 in a key")
		}
		if _, isThere := object[key]; isThere {
			return nil, bad("a key twice in one object")
		}
		p.next()
		p.at++ // the colon
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		object[key] = value
	}
}

func (p *parser) list() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	for {
		switch p.next() {
		case ']':
			p.at++
			p.depth--
			return list, nil
		case ',':
			p.at++
			continue
		case 0:
			return nil, bad("not JSON")
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
}

func (p *parser) number() (any, error) {
	start := p.at
	for p.at < len(p.text) && strings.IndexByte("+-.0123456789eE", p.text[p.at]) >= 0 {
		p.at++
	}
	spelled := p.text[start:p.at]
	if strings.ContainsAny(spelled, ".eE") {
		value, err := strconv.ParseFloat(spelled, 64)
		if err != nil {
			return nil, bad("a number that is no finite double")
		}
		return value, nil
	}
	value, err := strconv.ParseInt(spelled, 10, 64)
	if err != nil || value > tables.LimitInteger || value < -tables.LimitInteger {
		return nil, bad("an integer beyond 2^53-1")
	}
	return value, nil
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) string() (string, error) {
	p.at++ // the quote
	rest := p.text[min(p.at, len(p.text)):]
	end := strings.IndexAny(rest, `"\`)
	if end >= 0 && rest[end] == '"' {
		p.at += end + 1
		return rest[:end], nil
	}
	var text strings.Builder
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case '"':
			p.at++
			return text.String(), nil
		case '\\':
			if p.at+1 >= len(p.text) {
				return "", bad("not JSON")
			}
			if p.text[p.at+1] != 'u' {
				text.WriteByte(escapes[p.text[p.at+1]])
				p.at += 2
				continue
			}
			first := p.escape()
			if first >= 0xd800 && first < 0xdc00 {
				second := p.escape()
				if second < 0xdc00 || second > 0xdfff {
					return "", bad("a lone surrogate")
				}
				first = 0x10000 + (first-0xd800)<<10 + (second - 0xdc00)
			} else if first < 0 || first >= 0xdc00 && first <= 0xdfff {
				return "", bad("a lone surrogate")
			}
			text.WriteRune(first)
		default:
			text.WriteByte(c)
			p.at++
		}
	}
	return "", bad("not JSON")
}

// escape is the code unit of a \uXXXX that stands here; -1 if none does.
func (p *parser) escape() rune {
	if p.at+6 > len(p.text) || p.text[p.at:p.at+2] != `\u` {
		return -1
	}
	unit, err := strconv.ParseUint(p.text[p.at+2:p.at+6], 16, 16)
	if err != nil {
		return -1
	}
	p.at += 6
	return rune(unit)
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

// Plain is a copy of the value made of the types that ParseLine makes. A struct becomes what encoding/json makes of it. The
// error names the place below where, if there is no such JSON: a function, NaN, text that is no UTF-8, nesting over 32.
func Plain(value any, where string) (any, error) { return plain(value, 1, where) }

func plain(value any, depth int, where string) (any, error) {
	wrong := func(what string) (any, error) { return nil, fmt.Errorf("%s: %s", where, what) }
	if depth > tables.LimitNesting {
		return wrong(fmt.Sprintf("nesting over %d", tables.LimitNesting))
	}
	switch value := value.(type) {
	case nil:
		return nil, nil
	case json.Marshaler:
		return marshalled(value, depth, where)
	}
	found := reflect.ValueOf(value)
	switch found.Kind() {
	case reflect.Bool:
		return found.Bool(), nil
	case reflect.String:
		if !utf8.ValidString(found.String()) {
			return wrong("not UTF-8")
		}
		return found.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if number := found.Int(); number <= tables.LimitInteger && number >= -tables.LimitInteger {
			return number, nil
		}
		return wrong(fmt.Sprintf("%d is beyond 2^53-1", found.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if number := found.Uint(); number <= tables.LimitInteger {
			return int64(number), nil
		}
		return wrong(fmt.Sprintf("%d is beyond 2^53-1", found.Uint()))
	case reflect.Float32, reflect.Float64:
		number := found.Float()
		if math.IsNaN(number) || math.IsInf(number, 0) {
			return wrong(fmt.Sprintf("%v is not JSON", number))
		}
		if number == math.Trunc(number) && math.Abs(number) > tables.LimitInteger {
			return wrong(fmt.Sprintf("%v is beyond 2^53-1", number))
		}
		return number, nil
	case reflect.Pointer, reflect.Interface:
		if found.IsNil() {
			return nil, nil
		}
		return plain(found.Elem().Interface(), depth, where)
	case reflect.Slice, reflect.Array:
		list := make([]any, found.Len())
		for index := range list {
			item, err := plain(found.Index(index).Interface(), depth+1, fmt.Sprintf("%s[%d]", where, index))
			if err != nil {
				return nil, err
			}
			list[index] = item
		}
		return list, nil
	case reflect.Map:
		if found.Type().Key().Kind() != reflect.String {
			return marshalled(value, depth, where)
		}
		object := make(map[string]any, found.Len())
		for _, name := range found.MapKeys() {
			key := name.String()
			if strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key) {
				return wrong(fmt.Sprintf("U+0000, or octets that are no UTF-8, in the key %q", key))
			}
			place := key
			if where != "" {
				place = where + "." + key
			}
			item, err := plain(found.MapIndex(name).Interface(), depth+1, place)
			if err != nil {
				return nil, err
			}
			object[key] = item
		}
		return object, nil
	}
	return marshalled(value, depth, where)
}

func marshalled(value any, depth int, where string) (any, error) {
	octets, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %T is not JSON", where, value)
	}
	made, err := (&parser{text: string(octets), depth: depth - 1}).value()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return made, nil
}

// AppendJSON adds the compact JSON of a value made of plain types.
func AppendJSON(to []byte, value any) []byte {
	switch value := value.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, value)
	case int:
		return strconv.AppendInt(to, int64(value), 10)
	case int64:
		return strconv.AppendInt(to, value, 10)
	case float64:
		octets, err := json.Marshal(value)
		if err != nil {
			return append(to, "null"...)
		}
		return append(to, octets...)
	case string:
		return appendString(to, value)
	case []string:
		to = append(to, '[')
		for index, item := range value {
			if index > 0 {
				to = append(to, ',')
			}
			to = appendString(to, item)
		}
		return append(to, ']')
	case []any:
		to = append(to, '[')
		for index, item := range value {
			if index > 0 {
				to = append(to, ',')
			}
			to = AppendJSON(to, item)
		}
		return append(to, ']')
	case map[string]any:
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		to = append(to, '{')
		for index, key := range keys {
			if index > 0 {
				to = append(to, ',')
			}
			to = append(appendString(to, key), ':')
			to = AppendJSON(to, value[key])
		}
		return append(to, '}')
	}
	made, err := Plain(value, "")
	if err != nil {
		return append(to, "null"...)
	}
	return AppendJSON(to, made)
}

// appendString escapes what has to be, and no more: so a length is the one that the frontend counts.
func appendString(to []byte, text string) []byte {
	to = append(to, '"')
	for at := 0; at < len(text); at++ {
		switch c := text[at]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '\r':
			to = append(to, `\r`...)
		case c == '\t':
			to = append(to, `\t`...)
		case c < 0x20:
			to = append(to, fmt.Sprintf(`\u%04x`, c)...)
		default:
			to = append(to, c)
		}
	}
	return append(to, '"')
}

// EncodeLine is the line of a message, LF included.
func EncodeLine(message map[string]any) []byte { return append(AppendJSON(nil, message), '\n') }

// Octets are those of a field of type Bytes, in either form.
func Octets(value any) (string, error) {
	switch value := value.(type) {
	case string:
		return value, nil
	case map[string]any:
		text, isText := value["b64"].(string)
		if !isText || len(value) != 1 {
			break
		}
		octets, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || base64.StdEncoding.EncodeToString(octets) != text {
			return "", errors.New("bad base64")
		}
		return string(octets), nil
	}
	return "", errors.New("neither a string nor b64")
}

// Field is a field of type Bytes: a string if and only if the octets are valid UTF-8 without NUL.
func Field(octets string) any {
	if utf8.ValidString(octets) && strings.IndexByte(octets, 0) < 0 {
		return octets
	}
	return map[string]any{"b64": base64.StdEncoding.EncodeToString([]byte(octets))}
}

// FrameDecoder takes octets in any pieces, and gives whole lines, none longer than MaxFrame with its LF.
type FrameDecoder struct {
	MaxFrame int
	// Broken is set once a line was too long: what comes after it is not read.
	Broken error
	held   []byte
}

// Feed gives the lines that these octets complete, without their LF, up to one that is too long. They may lie in octets.
func (d *FrameDecoder) Feed(octets []byte) [][]byte {
	var lines [][]byte
	for d.Broken == nil {
		end := bytes.IndexByte(octets, '\n')
		piece := octets
		if end >= 0 {
			piece = octets[:end]
		}
		if len(d.held)+len(piece) >= d.MaxFrame {
			d.held = nil
			d.Broken = &ProtocolError{"frame_too_long", fmt.Sprintf("a line of over %d octets", d.MaxFrame)}
			break
		}
		if end < 0 {
			d.held = append(d.held, piece...)
			break
		}
		if len(d.held) > 0 {
			piece = append(d.held, piece...)
			d.held = nil
		}
		lines = append(lines, piece)
		octets = octets[end+1:]
	}
	return lines
}
