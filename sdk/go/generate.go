//go:build ignore

// Writes internal/tables/tables.go: what protocol/hooks.json and protocol/words.json say. With -print, to stdout.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

type hook struct {
	Hook     string
	Asked    bool
	Verdicts json.RawMessage
	OKCodes  []int    `json:"ok_codes"`
	OKReply  string   `json:"ok_reply"`
	Actions  []string `json:"actions"`
}

// keys are the members of an object in their order.
func keys(object json.RawMessage) []string {
	var found []string
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.Token()
	for decoder.More() {
		key, err := decoder.Token()
		check(err)
		found = append(found, key.(string))
		var value json.RawMessage
		check(decoder.Decode(&value))
	}
	return found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func camel(name string) string {
	var result string
	for _, part := range strings.Split(name, "_") {
		result += strings.ToUpper(part[:1]) + part[1:]
	}
	return result
}

func read(folder, name string, into any) {
	octets, err := os.ReadFile(filepath.Join(folder, "../../protocol", name))
	check(err)
	check(json.Unmarshal(octets, into))
}

func main() {
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Dir(file)
	var hooks struct{ Hooks []hook }
	read(folder, "hooks.json", &hooks)
	var words struct {
		Messages, Actions json.RawMessage
		Verdicts, Needs   []string
		Limits            map[string]int64
	}
	read(folder, "words.json", &words)

	var out bytes.Buffer
	fmt.Fprintln(&out, "// Package tables is made by generate.go of protocol/hooks.json and protocol/words.json.")
	fmt.Fprintln(&out, "package tables")
	fmt.Fprintln(&out, "\n// Hook is what may be answered at a hook; a hook that only tells has no verdicts.")
	fmt.Fprintln(&out, "type Hook struct {\nName string\nAsked bool\nVerdicts []string\nOKCodes []int64\nOKReply string\nActions []string\n}")
	fmt.Fprintln(&out, "\n// Hooks are all hooks in the order of the dialogue.")
	fmt.Fprintln(&out, "var Hooks = []Hook{")
	for _, each := range hooks.Hooks {
		fmt.Fprintf(&out, "{Name: %q, Asked: %v", each.Hook, each.Asked)
		if each.Asked {
			fmt.Fprintf(&out, ", Verdicts: %#v, OKCodes: []int64{%s}, OKReply: %q, Actions: %#v", keys(each.Verdicts),
				strings.Trim(strings.ReplaceAll(fmt.Sprint(each.OKCodes), " ", ", "), "[]"), each.OKReply, each.Actions)
		}
		fmt.Fprintln(&out, "},")
	}
	fmt.Fprintln(&out, "}")
	fmt.Fprintln(&out, "\n// Messages has the side that sends each message type.")
	fmt.Fprintln(&out, "var Messages = map[string]string{")
	var messages map[string]string
	check(json.Unmarshal(words.Messages, &messages))
	for _, name := range keys(words.Messages) {
		fmt.Fprintf(&out, "%q: %q,\n", name, messages[name])
	}
	fmt.Fprintln(&out, "}")
	fmt.Fprintf(&out, "\n// Verdicts are the words of a verdict.\nvar Verdicts = %#v\n", words.Verdicts)
	fmt.Fprintf(&out, "\n// Needs are the parts of an event that a worker gets only if it names them.\nvar Needs = %#v\n", words.Needs)
	fmt.Fprintln(&out, "\n// Actions has the fields that each action needs.")
	fmt.Fprintln(&out, "var Actions = map[string][]string{")
	var actions map[string][]string
	check(json.Unmarshal(words.Actions, &actions))
	for _, name := range keys(words.Actions) {
		fmt.Fprintf(&out, "%q: %#v,\n", name, actions[name])
	}
	fmt.Fprintln(&out, "}")
	fmt.Fprintln(&out, "\n// Octets, characters, or counts.\nconst (")
	var limits []string
	for name := range words.Limits {
		limits = append(limits, name)
	}
	sort.Strings(limits)
	for _, name := range limits {
		fmt.Fprintf(&out, "Limit%s = %d\n", camel(name), words.Limits[name])
	}
	fmt.Fprintln(&out, ")")
	source, err := format.Source(out.Bytes())
	check(err)
	if len(os.Args) > 1 && os.Args[1] == "-print" {
		os.Stdout.Write(source)
		return
	}
	check(os.WriteFile(filepath.Join(folder, "internal/tables/tables.go"), source, 0o644))
}
