// Package gatepost is for policy workers of the Gatepost SMTP server: programs that a frontend asks about each step of a
// session. A Worker has handlers of hooks, and dials every frontend of its pool.
package gatepost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatepost/internal/tables"
)

const (
	// largestBacklog is how many notifications may wait for their handlers; further ones are dropped with a count.
	largestBacklog  = 1024
	shortestBackoff = 50 * time.Millisecond
	longestBackoff  = 2 * time.Second
	// welcomeTime is how long the frontend may take for its welcome, closeTime for closing after a bye.
	welcomeTime = 5 * time.Second
	closeTime   = 2 * time.Second
	// mostWaiting is how many octets may wait for a frontend that does not read, before nothing more is read from it.
	mostWaiting = 1 << 20
)

// Handler answers an event. The context is done when the event is cancelled or its time is over. An error, or a panic, is an
// error on the wire, and the operator's failure policy decides; so no error ever means consent.
type Handler func(ctx context.Context, event *Event) (Verdict, error)

type entry struct {
	handler             Handler
	plugin              string
	needs, extensions   []string
	observe, idempotent bool
}

// Option says more about a handler.
type Option func(*entry)

// Needs names parts of an event that a worker gets only if it names them: recipients, headers, message, trace.
func Needs(parts ...string) Option { return func(e *entry) { e.needs = append(e.needs, parts...) } }

// Observe: only be told; no answer, no delay for the session.
func Observe() Option { return func(e *entry) { e.observe = true } }

// Idempotent: at queue and auth a second attempt does no harm.
func Idempotent() Option { return func(e *entry) { e.idempotent = true } }

// Extensions names SMTP extensions that the handler of queue keeps for each message that it takes: FUTURERELEASE.
func Extensions(keywords ...string) Option {
	return func(e *entry) { e.extensions = append(e.extensions, keywords...) }
}

// Plugin is the name in logs and traces; without it, the function's.
func Plugin(name string) Option { return func(e *entry) { e.plugin = name } }

// Worker serves the hooks that its handlers name, for every frontend that has the pool. Set its fields, and register its
// handlers, before it runs.
type Worker struct {
	// Name is the program's name, the same for all its copies.
	Name string
	// Pool is the pool's name: of the environment's GATEPOST_POOL, else policy.
	Pool string
	// Version and Instance are for the frontend's logs and figures.
	Version, Instance string
	// Concurrency is how many events a frontend may ask at once, 0 to 65,535: 16. 0 is for a worker that only observes.
	Concurrency int
	// MaxFrame is the longest line that is read, octets: 1,048,576.
	MaxFrame int
	// RuntimeDirectory is the frontend's runtime_directory: of the environment's GATEPOST_RUNTIME_DIRECTORY, else var/run.
	RuntimeDirectory string
	// Folder is where sockets are; "" for pools/<pool> of RuntimeDirectory.
	Folder string
	// Logger gets what goes wrong, and what begins and ends.
	Logger *log.Logger
	// LookEvery is the time between two looks for sockets: 1 s. DrainTimeout is how long a drain may take: 60 s.
	LookEvery, DrainTimeout time.Duration
	// OnWelcome is called with each frontend's welcome; may be nil.
	OnWelcome func(welcome map[string]any)

	entries map[string][]*entry
	order   []string
	wrong   error

	mutex   sync.Mutex
	told    *sync.Cond
	backlog []*Event
	telling bool
	dropped int
	links   map[*link]bool
}

var (
	workerName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	poolName   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// NewWorker makes a worker of this name: [A-Za-z0-9._-]{1,64}.
func NewWorker(name string) *Worker {
	w := &Worker{
		Name: name, Pool: environment("GATEPOST_POOL", "policy"), Concurrency: 16, MaxFrame: tables.LimitSdkMaxFrame,
		RuntimeDirectory: environment("GATEPOST_RUNTIME_DIRECTORY", "var/run"), Logger: log.New(os.Stderr, "gatepost: ", 0),
		LookEvery: time.Second, DrainTimeout: time.Minute, entries: map[string][]*entry{}, links: map[*link]bool{},
	}
	w.told = sync.NewCond(&w.mutex)
	return w
}

var unnamed = regexp.MustCompile(`^(?:func)?[0-9]+$`)

// nameOf is the function's name without its package; "" if it has none.
func nameOf(handler Handler) string {
	found := runtime.FuncForPC(reflect.ValueOf(handler).Pointer())
	if found == nil {
		return ""
	}
	parts := strings.Split(strings.TrimSuffix(found.Name(), "-fm"), ".")
	if name := parts[len(parts)-1]; !unnamed.MatchString(name) {
		return name
	}
	return ""
}

func (w *Worker) refuse(format string, arguments ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf("gatepost: worker %s: "+format, append([]any{w.Name}, arguments...)...)
	}
}

// Handle registers a handler of a hook. Several handlers of one hook are asked in order, until one does not decline. What is
// wrong with it, Err says, and Run and Serve return it.
func (w *Worker) Handle(hook string, handler Handler, options ...Option) {
	if _, isHook := hookNamed[hook]; !isHook {
		w.refuse("there is no hook %q", hook)
		return
	}
	if handler == nil {
		w.refuse("a handler of %s is nil: give a function", hook)
		return
	}
	made := &entry{handler: handler}
	for _, option := range options {
		option(made)
	}
	if made.plugin == "" {
		made.plugin = nameOf(handler)
	}
	if made.plugin == "" {
		made.plugin = hook
	}
	if short := []rune(made.plugin); len(short) > tables.LimitShortText {
		made.plugin = string(short[:tables.LimitShortText])
	}
	for _, need := range made.needs {
		if !contains(tables.Needs, need) {
			w.refuse("there is no need %q; there are %s", need, strings.Join(tables.Needs, ", "))
		}
	}
	if len(made.extensions) > 0 && (hook != "queue" || made.observe) {
		w.refuse("extensions are for a handler that is asked at queue")
	}
	for _, other := range w.entries[hook] {
		if other.observe != made.observe {
			w.refuse("the hook %s is either observed or decided by one worker", hook)
		}
	}
	if w.entries[hook] == nil {
		w.order = append(w.order, hook)
	}
	w.entries[hook] = append(w.entries[hook], made)
}

// Err is what is wrong with the worker's fields or handlers; nil if nothing.
func (w *Worker) Err() error {
	switch {
	case w.wrong != nil:
	case !workerName.MatchString(w.Name):
		w.refuse("a worker's name is [A-Za-z0-9._-]{1,64}, not %q", w.Name)
	case !poolName.MatchString(w.Pool):
		w.refuse("a pool's name is [a-z0-9][a-z0-9_-]{0,63}, not %q", w.Pool)
	case w.Concurrency < 0 || w.Concurrency > tables.LimitConcurrency:
		w.refuse("Concurrency is 0 to %d, not %d", tables.LimitConcurrency, w.Concurrency)
	case w.MaxFrame < tables.LimitLeastMaxFrame || w.MaxFrame > tables.LimitMostMaxFrame:
		w.refuse("MaxFrame is %d to %d, not %d", tables.LimitLeastMaxFrame, tables.LimitMostMaxFrame, w.MaxFrame)
	}
	return w.wrong
}

// Hello is what the worker says about itself, without the message's type.
func (w *Worker) Hello() map[string]any {
	hooks := map[string]any{}
	plugins := []any{}
	named := map[string]bool{}
	for _, hook := range w.order {
		said := map[string]any{}
		entries := w.entries[hook]
		var needs []any
		for _, need := range tables.Needs {
			for _, each := range entries {
				if contains(each.needs, need) {
					needs = append(needs, need)
					break
				}
			}
		}
		if len(needs) > 0 {
			said["needs"] = needs
		}
		idempotent := true
		for _, each := range entries {
			idempotent = idempotent && each.idempotent
			if !named[each.plugin] {
				named[each.plugin] = true
				plugins = append(plugins, each.plugin)
			}
		}
		if entries[0].observe {
			said["observe"] = true
		}
		if idempotent {
			said["idempotent"] = true
		}
		hooks[hook] = said
	}
	about := map[string]any{"name": w.Name, "sdk": "gatepost-go/0.1.0", "pid": int64(os.Getpid())}
	if w.Version != "" {
		about["version"] = w.Version
	}
	if w.Instance != "" {
		about["instance"] = w.Instance
	}
	hello := map[string]any{
		"protocol": []any{int64(1), int64(1)}, "pool": w.Pool, "worker": about, "concurrency": int64(w.Concurrency),
		"max_frame": int64(w.MaxFrame), "plugins": plugins, "violations": true, "hooks": hooks,
	}
	if queue := w.entries["queue"]; len(queue) > 0 {
		var kept []any
		for _, keyword := range queue[0].extensions {
			isKept := true
			for _, each := range queue {
				isKept = isKept && contains(each.extensions, keyword)
			}
			if isKept {
				kept = append(kept, keyword)
			}
		}
		if len(kept) > 0 {
			hello["extensions"] = kept
		}
	}
	return hello
}

// Life

// Run serves until SIGTERM or SIGINT, then drains. A second signal ends the program at once.
func (w *Worker) Run() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	go func() {
		<-signals
		stop()
		if second, is := (<-signals).(syscall.Signal); is {
			os.Exit(128 + int(second))
		}
	}()
	told := w.OnWelcome
	var once sync.Once
	w.OnWelcome = func(welcome map[string]any) {
		once.Do(func() {
			fmt.Printf("ready: worker %s, pool %s, frontend %v\n", w.Name, w.Pool, object(welcome["frontend"])["id"])
		})
		if told != nil {
			told(welcome)
		}
	}
	defer func() { w.OnWelcome = told }()
	return w.Serve(ctx)
}

// Serve dials every socket of the folder, looks for new ones every LookEvery, until the context is done; then it drains. The
// error is that of Err.
func (w *Worker) Serve(ctx context.Context) error {
	if err := w.Err(); err != nil {
		return err
	}
	folder := w.Folder
	if folder == "" {
		folder = filepath.Join(w.RuntimeDirectory, "pools", w.Pool)
	}
	var kept sync.WaitGroup
	var mutex sync.Mutex
	dialling := map[string]bool{}
	look := time.NewTicker(w.LookEvery)
	defer look.Stop()
	for ctx.Err() == nil {
		entries, _ := os.ReadDir(folder) // no frontend yet
		for _, each := range entries {
			path := filepath.Join(folder, each.Name())
			mutex.Lock()
			isNew := strings.HasSuffix(path, ".sock") && !dialling[path]
			if isNew {
				dialling[path] = true
			}
			mutex.Unlock()
			if !isNew {
				continue
			}
			kept.Add(1)
			go func() {
				defer kept.Done()
				w.keep(ctx, path)
				mutex.Lock()
				delete(dialling, path)
				mutex.Unlock()
			}()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
	w.Logger.Print("draining")
	overdue := time.AfterFunc(w.DrainTimeout, func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		for each := range w.links {
			go each.abort()
		}
	})
	kept.Wait()
	overdue.Stop()
	return nil
}

// keep keeps a connection to this socket for as long as there is such a file.
func (w *Worker) keep(ctx context.Context, path string) {
	random := rand.New(rand.NewSource(time.Now().UnixNano() ^ int64(os.Getpid())<<32))
	backoff := shortestBackoff
	for ctx.Err() == nil {
		var wait time.Duration
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err == nil {
			link := newLink(w, conn, w.Logger, nil)
			link.serve(ctx)
			reason := ""
			link.locked(func() { reason = link.core.CloseReason })
			if link.core.Welcome != nil {
				backoff = shortestBackoff
			}
			if retry, is := link.core.Rejected["retry_ms"].(int64); is && retry > 0 {
				wait = time.Duration(retry) * time.Millisecond
				if retry > time.Hour.Milliseconds() {
					wait = time.Hour
				}
			}
			if ctx.Err() == nil {
				w.Logger.Printf("%s: connection lost (%s); dialling again", path, reason)
			}
		}
		if jitter := time.Duration(random.Int63n(int64(backoff))); jitter > wait {
			wait = jitter
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		if backoff *= 2; backoff > longestBackoff {
			backoff = longestBackoff
		}
	}
}

// ServeConn serves one frontend at this connection until it is over; when the context is done, it drains. The logger is nil
// for the worker's. onFailure, if it is not nil, is called with the error of each handler that fails.
func (w *Worker) ServeConn(ctx context.Context, conn net.Conn, logger *log.Logger, onFailure func(*Event, error)) error {
	if err := w.Err(); err != nil {
		conn.Close()
		return err
	}
	if logger == nil {
		logger = w.Logger
	}
	newLink(w, conn, logger, onFailure).serve(ctx)
	return nil
}

// Events

// PanicError is what became of a handler that panicked, or that ended its goroutine.
type PanicError struct {
	Value any
	Stack []byte
}

func (p *PanicError) Error() string { return fmt.Sprint("panic: ", p.Value) }

// Unwrap is the error that was the panic's value; nil if it was none.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

func call(ctx context.Context, handler Handler, event *Event) (verdict Verdict, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{value, debug.Stack()}
		}
	}()
	return handler(ctx, event)
}

// unsendable is an answer that is no JSON.
type unsendable struct{ error }

// ask asks the handlers in order: the answer of the first that does not decline.
func (w *Worker) ask(event *Event) (Verdict, error) {
	for _, each := range w.entries[event.Hook] {
		if event.ctx.Err() != nil {
			break
		}
		began := time.Now()
		event.begin(each.plugin)
		verdict, err := call(event.ctx, each.handler, event)
		if err != nil {
			return Verdict{}, err
		}
		if err = event.settle(); err != nil {
			return Verdict{}, unsendable{err}
		}
		if !contains(tables.Verdicts, string(verdict.word())) {
			return verdict, nil
		}
		if len(event.trace) < tables.LimitTrace {
			event.trace = append(event.trace, map[string]any{
				"plugin": each.plugin, "verdict": string(verdict.word()), "us": time.Since(began).Microseconds(),
			})
		}
		if verdict.word() != WordDeclined || verdict.reply() != nil {
			return verdict, nil
		}
		if err = event.keep(verdict); err != nil { // a later plugin decides; what this one changes goes with it
			return Verdict{}, unsendable{err}
		}
	}
	return Declined(), nil
}

// missing is what handlers of queue need and did not get: they must not store a message without it.
func (w *Worker) missing(event *Event) []string {
	var parts []string
	for _, part := range event.Elided() {
		for _, each := range w.entries["queue"] {
			if event.Hook == "queue" && contains(each.needs, part) && !contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// Notifications: in order, one at a time, and never in the way of events

func (w *Worker) notify(event *Event, logger *log.Logger, onFailure func(*Event, error)) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.backlog) >= largestBacklog {
		w.dropped++
		return
	}
	w.backlog = append(w.backlog, event)
	if !w.telling {
		w.telling = true
		go w.tell(logger, onFailure)
	}
}

func (w *Worker) tell(logger *log.Logger, onFailure func(*Event, error)) {
	for {
		w.mutex.Lock()
		if len(w.backlog) == 0 {
			w.telling = false
			w.told.Broadcast()
			w.mutex.Unlock()
			return
		}
		event := w.backlog[0]
		w.backlog = w.backlog[1:]
		w.mutex.Unlock()
		for _, each := range w.entries[event.Hook] {
			done := make(chan error, 1)
			go func() { // a goroutine of its own: one that a handler ends is not this one
				var err error = &PanicError{"the handler ended its goroutine", nil}
				defer func() { done <- err }()
				_, err = call(event.ctx, each.handler, event)
			}()
			if err := <-done; err != nil {
				logger.Printf("%s: a handler of %s failed: %s", each.plugin, event.Hook, described(err))
				if onFailure != nil {
					onFailure(event, err)
				}
			}
		}
		event.end()
	}
}

// DroppedNotifications is how many notifications were dropped because their handlers are slow.
func (w *Worker) DroppedNotifications() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.dropped
}

// WaitForNotifications returns when no notification waits for its handlers.
func (w *Worker) WaitForNotifications() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for w.telling {
		w.told.Wait()
	}
}

// described is an error for the log, with the stack of a panic.
func described(err error) string {
	var panicked *PanicError
	if errors.As(err, &panicked) {
		return err.Error() + "\n" + string(panicked.Stack)
	}
	return err.Error()
}

// link is a connection with its socket: it runs what the core hands out, and writes what that says.
type link struct {
	worker    *Worker
	conn      net.Conn
	logger    *log.Logger
	onFailure func(*Event, error)
	// slots are taken by handlers at work: one that does not end when its time is over keeps its slot.
	slots chan struct{}

	mutex sync.Mutex
	news  *sync.Cond // octets to write, octets written, or the end
	core  *Connection
	lost  bool
}

func newLink(worker *Worker, conn net.Conn, logger *log.Logger, onFailure func(*Event, error)) *link {
	l := &link{worker: worker, conn: conn, logger: logger, onFailure: onFailure, slots: make(chan struct{}, worker.Concurrency)}
	l.news = sync.NewCond(&l.mutex)
	l.core = NewConnection(worker.Hello())
	l.core.guard = l.locked
	l.core.OnViolation = func(violation map[string]any) {
		text := fmt.Sprintf("%v: %v: %v", violation["hook"], violation["violation"], violation["message"])
		if plugin, is := violation["plugin"].(string); is {
			text = plugin + " at " + text
		}
		logger.Print("the frontend found a verdict invalid: " + text)
	}
	return l
}

// locked runs a change of the core, and has what it says written.
func (l *link) locked(change func()) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	change()
	l.news.Broadcast()
}

// serve serves the frontend until the connection is over.
func (l *link) serve(ctx context.Context) {
	l.worker.mutex.Lock()
	l.worker.links[l] = true
	l.worker.mutex.Unlock()
	welcome := time.AfterFunc(welcomeTime, func() {
		l.locked(func() {
			if l.core.Welcome == nil {
				l.core.Leave("timeout")
			}
		})
	})
	over := make(chan struct{})
	written := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			l.locked(func() { l.core.Drain("stopping") })
		case <-over:
		}
	}()
	go func() {
		defer close(written)
		l.write()
	}()
	reason := l.read(welcome)
	close(over)
	l.locked(func() {
		l.core.Lost()
		l.lost = true
		if l.core.CloseReason == "" {
			l.core.CloseReason = reason
		}
	})
	l.conn.Close()
	<-written
	welcome.Stop()
	l.worker.mutex.Lock()
	delete(l.worker.links, l)
	l.worker.mutex.Unlock()
}

// read reads until the end, and says why it came.
func (l *link) read(welcome *time.Timer) string {
	buffer := make([]byte, 65536)
	for {
		count, err := l.conn.Read(buffer)
		var events []*Event
		var greeting map[string]any
		l.locked(func() {
			greeted := l.core.Welcome != nil
			events = l.core.Receive(buffer[:count])
			if !greeted {
				greeting = l.core.Welcome
			}
		})
		if greeting != nil {
			welcome.Stop()
			l.logger.Printf("serving frontend %v", object(greeting["frontend"])["id"])
			if l.worker.OnWelcome != nil {
				l.worker.OnWelcome(greeting)
			}
		}
		for _, event := range events {
			if event.ID == 0 {
				l.worker.notify(event, l.logger, l.onFailure)
			} else if event.CancelReason() == "" {
				l.start(event)
			}
		}
		if err != nil {
			return err.Error()
		}
		l.mutex.Lock()
		for len(l.core.outgoing) > mostWaiting && !l.core.Closed && !l.lost {
			l.news.Wait() // the frontend does not take our answers: nothing is read that would make more of them
		}
		l.mutex.Unlock()
	}
}

// write writes what the core says, each time all that there is.
func (l *link) write() {
	for {
		l.mutex.Lock()
		for len(l.core.outgoing) == 0 && !l.core.Closed && !l.lost {
			l.news.Wait()
		}
		octets, isLast, isLost := l.core.Take(), l.core.Closed, l.lost
		l.news.Broadcast()
		l.mutex.Unlock()
		if isLost {
			return
		}
		if isLast {
			l.conn.SetDeadline(time.Now().Add(closeTime))
		}
		if len(octets) > 0 {
			if _, err := l.conn.Write(octets); err != nil {
				l.conn.Close()
				return
			}
		}
		if isLast {
			// The other half stays open for a while: a socket that is closed with octets unread loses what was written.
			if half, is := l.conn.(interface{ CloseWrite() error }); is {
				half.CloseWrite()
			} else {
				l.conn.Close()
			}
			return
		}
	}
}

// abort leaves at once.
func (l *link) abort() {
	l.conn.SetDeadline(time.Now().Add(closeTime))
	l.locked(func() { l.core.Leave("stopping") })
}

func (l *link) fail(event *Event, code string, started bool, message, plugin string) (isSent bool) {
	l.locked(func() { isSent = l.core.Fail(event, code, started, message, plugin) })
	return isSent
}

func (l *link) start(event *Event) {
	if missing := l.worker.missing(event); len(missing) > 0 {
		text := strings.Join(missing, " and ") + " did not fit into the event"
		l.logger.Printf("queue %s: %s", event.Key, text)
		l.fail(event, "incomplete_event", false, text, "")
		event.end()
		return
	}
	go l.watch(event)
	go l.handle(event)
}

// watch ends an event whose time is over, unless Progress has moved that.
func (l *link) watch(event *Event) {
	for {
		left := event.handlerTime()
		if left <= 0 {
			break
		}
		timer := time.NewTimer(left)
		select {
		case <-event.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	started, plugin := event.worker()
	if started {
		l.fail(event, "deadline", true, event.Hook+" took longer than its deadline", plugin)
	} else {
		l.fail(event, "overloaded", false, "handlers of earlier events do not end", "")
	}
	event.cancel("deadline")
}

func (l *link) handle(event *Event) {
	select {
	case l.slots <- struct{}{}:
	case <-event.ctx.Done():
		return
	}
	defer func() { <-l.slots }()
	defer event.end()
	var verdict Verdict
	var err error = &PanicError{"the handler ended its goroutine", nil}
	defer func() { l.answer(event, verdict, err) }()
	verdict, err = l.worker.ask(event)
}

func (l *link) answer(event *Event, verdict Verdict, err error) {
	var line []byte
	var violation *Violation
	var notJSON unsendable
	switch {
	case errors.As(err, &notJSON):
		violation = &Violation{"", notJSON.Error()}
	case err != nil:
		_, plugin := event.worker()
		if l.fail(event, "exception", true, err.Error(), plugin) {
			l.logger.Printf("%s: failed at %s %s: %s", plugin, event.Hook, event.Key, described(err))
			if l.onFailure != nil {
				l.onFailure(event, err)
			}
		}
		return
	default:
		line, violation = prepare(event, verdict, l.peerMaxFrame())
	}
	l.locked(func() { violation = l.core.commit(event, line, violation) })
	if violation != nil {
		l.logger.Print("an invalid verdict: " + violation.Message)
	}
}

func (l *link) peerMaxFrame() int64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.core.peerMaxFrame
}
