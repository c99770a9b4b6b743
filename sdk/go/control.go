package gatepost

import (
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"
)

// deepestInclude is how deep $include may nest.
const deepestInclude = 16

// isSame says whether a file is the same as before, by what stat says; nil is a file that is not there.
func isSame(before, now fs.FileInfo) bool {
	if before == nil || now == nil {
		return before == nil && now == nil
	}
	return os.SameFile(before, now) && before.Size() == now.Size() && before.ModTime().Equal(now.ModTime()) && before.Mode() == now.Mode()
}

func stat(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// controlReader reads one file with everything that it includes.
type controlReader struct {
	folders []string
	stamps  map[string]fs.FileInfo
	lines   []string
	open    []fs.FileInfo
}

func (r *controlReader) stamp(path string) fs.FileInfo {
	r.stamps[path] = stat(path)
	return r.stamps[path]
}

func (r *controlReader) find(name string) string {
	paths := []string{name}
	if !filepath.IsAbs(name) {
		paths = nil
		for _, folder := range r.folders {
			paths = append(paths, filepath.Join(folder, name))
		}
	}
	for _, path := range paths {
		if r.stamp(path) != nil {
			return path
		}
	}
	return ""
}

func (r *controlReader) read(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for _, other := range r.open {
		if os.SameFile(info, other) {
			return fmt.Errorf("%s includes itself: remove this $include", path)
		}
	}
	if len(r.open) >= deepestInclude {
		return fmt.Errorf("%s: includes nest over %d: remove this $include", path, deepestInclude)
	}
	r.open = append(r.open, info)
	octets, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !utf8.Valid(octets) {
		return fmt.Errorf("%s: not UTF-8: save the file as UTF-8", path)
	}
	for index, line := range strings.Split(strings.TrimPrefix(string(octets), "\ufeff"), "\n") {
		line = strings.Trim(line, " \t\v\f\r")
		if line == "" || line[0] == '#' {
			continue
		}
		if words := strings.FieldsFunc(line, isBlank); words[0] == "$include" {
			name := strings.Trim(strings.TrimPrefix(line, "$include"), " \t")
			if err := r.include(name, fmt.Sprintf("%s:%d", path, index+1)); err != nil {
				return err
			}
		} else {
			r.lines = append(r.lines, line)
		}
	}
	r.open = r.open[:len(r.open)-1]
	return nil
}

func isBlank(character rune) bool { return character == ' ' || character == '\t' }

func hasParent(name string) bool { return contains(strings.Split(name, "/"), "..") }

func (r *controlReader) include(name, place string) error {
	if name == "" {
		return fmt.Errorf("%s: $include without a name: name a control file", place)
	}
	if hasParent(name) {
		return fmt.Errorf("%s: $include %s has .. in it: name a control file, or an absolute path", place, name)
	}
	path := r.find(name)
	if path == "" {
		return fmt.Errorf("%s: $include %s: no such file: make the file, or remove the line", place, name)
	}
	if !r.stamps[path].IsDir() {
		return r.read(path)
	}
	entries, err := os.ReadDir(path) // in order of their names
	if err != nil {
		return err
	}
	for _, each := range entries {
		if !each.Type().IsRegular() {
			continue
		}
		r.stamp(filepath.Join(path, each.Name()))
		if err := r.read(filepath.Join(path, each.Name())); err != nil {
			return err
		}
	}
	return nil
}

// ControlFile is a control file such as badmailfrom, read again when it changes. Its methods may be called from several
// goroutines.
//
// Empty lines and lines that begin with # are left out, white space at both ends is trimmed, and $include NAME stands for the
// lines of another file, or of the files of a folder in order of their names. A file that is not there has no lines. A file
// that cannot be read or parsed any more keeps its last good content, and OnError is told once.
type ControlFile struct {
	// OnError is told of a file that has become wrong; by default it is logged.
	OnError func(error)

	name      string
	folders   []string
	parse     func(lines []string) error
	mutex     sync.Mutex
	stamps    map[string]fs.FileInfo
	lines     []string
	isPresent bool
	reported  string
}

// NewControlFile reads the file of this name in the first of the folders that has it; without folders, in config. A file that
// is wrong is an error.
func NewControlFile(name string, folders ...string) (*ControlFile, error) {
	return newControlFile(name, func([]string) error { return nil }, folders)
}

func newControlFile(name string, parse func([]string) error, folders []string) (*ControlFile, error) {
	if hasParent(name) {
		return nil, fmt.Errorf("a control file's name has no ..: %q", name)
	}
	if len(folders) == 0 {
		folders = []string{"config"}
	}
	c := &ControlFile{name: name, folders: folders, parse: parse, OnError: func(err error) { log.Printf("gatepost: %v", err) }}
	if err := c.look(); err != nil {
		return nil, err
	}
	return c, nil
}

// look reads the file if it changed.
func (c *ControlFile) look() error {
	hasChanged := c.stamps == nil
	for path, before := range c.stamps {
		hasChanged = hasChanged || !isSame(before, stat(path))
	}
	if !hasChanged {
		return nil
	}
	reader := &controlReader{folders: c.folders, stamps: map[string]fs.FileInfo{}}
	path := reader.find(c.name)
	var err error
	if path != "" {
		err = reader.read(path)
	}
	if err == nil {
		err = c.parse(reader.lines)
	}
	c.stamps = reader.stamps
	if err == nil {
		c.lines, c.isPresent, c.reported = reader.lines, path != "", ""
	}
	return err
}

func (c *ControlFile) refresh() {
	if err := c.look(); err != nil && err.Error() != c.reported {
		c.reported = err.Error()
		c.OnError(err)
	}
}

// Lines are those of the file as it is now.
func (c *ControlFile) Lines() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.refresh()
	return append([]string(nil), c.lines...)
}

// First is the first line, for files of one value; "" if there is none.
func (c *ControlFile) First() string {
	if lines := c.Lines(); len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// IsPresent says whether there is such a file.
func (c *ControlFile) IsPresent() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.refresh()
	return c.isPresent
}

// Words are the first words of the lines.
func (c *ControlFile) Words() []string {
	words := c.Lines()
	for index, line := range words {
		words[index] = strings.FieldsFunc(line, isBlank)[0]
	}
	return words
}

// Has says whether a line begins with this word, compared without case.
func (c *ControlFile) Has(word string) bool {
	for _, found := range c.Words() {
		if strings.EqualFold(found, word) {
			return true
		}
	}
	return false
}

// ParsedFile is a control file with a value that is made of its lines.
type ParsedFile[T any] struct {
	*ControlFile
	value T
}

// NewParsedFile is NewControlFile with a function that makes the value of the lines; what it finds wrong is an error of the
// file.
func NewParsedFile[T any](name string, parse func(lines []string) (T, error), folders ...string) (*ParsedFile[T], error) {
	made := &ParsedFile[T]{}
	var err error
	made.ControlFile, err = newControlFile(name, func(lines []string) error {
		value, err := parse(lines)
		if err == nil {
			made.value = value
		}
		return err
	}, folders)
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Value is what was made of the lines of the file as it is now.
func (p *ParsedFile[T]) Value() T {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.refresh()
	return p.value
}
