package gatepost

// One method for each hook of protocol/events.md.

// Connect registers a handler that is asked at connect.
func (w *Worker) Connect(handler Handler, options ...Option) {
	w.Handle("connect", handler, options...)
}

// Helo registers a handler that is asked at helo.
func (w *Worker) Helo(handler Handler, options ...Option) { w.Handle("helo", handler, options...) }

// Ehlo registers a handler that is asked at ehlo.
func (w *Worker) Ehlo(handler Handler, options ...Option) { w.Handle("ehlo", handler, options...) }

// Auth registers a handler that is asked at auth.
func (w *Worker) Auth(handler Handler, options ...Option) { w.Handle("auth", handler, options...) }

// Mail registers a handler that is asked at mail.
func (w *Worker) Mail(handler Handler, options ...Option) { w.Handle("mail", handler, options...) }

// Rcpt registers a handler that is asked at rcpt.
func (w *Worker) Rcpt(handler Handler, options ...Option) { w.Handle("rcpt", handler, options...) }

// Data registers a handler that is asked at data.
func (w *Worker) Data(handler Handler, options ...Option) { w.Handle("data", handler, options...) }

// DataHeadersEnd registers a handler that is asked at data_headers_end.
func (w *Worker) DataHeadersEnd(handler Handler, options ...Option) {
	w.Handle("data_headers_end", handler, options...)
}

// ReceivedLine registers a handler that is asked at received_line.
func (w *Worker) ReceivedLine(handler Handler, options ...Option) {
	w.Handle("received_line", handler, options...)
}

// DataPostHeaders registers a handler that is asked at data_post_headers.
func (w *Worker) DataPostHeaders(handler Handler, options ...Option) {
	w.Handle("data_post_headers", handler, options...)
}

// DataPost registers a handler that is asked at data_post.
func (w *Worker) DataPost(handler Handler, options ...Option) {
	w.Handle("data_post", handler, options...)
}

// QueuePre registers a handler that is asked at queue_pre.
func (w *Worker) QueuePre(handler Handler, options ...Option) {
	w.Handle("queue_pre", handler, options...)
}

// Queue registers a handler that is asked at queue.
func (w *Worker) Queue(handler Handler, options ...Option) { w.Handle("queue", handler, options...) }

// Vrfy registers a handler that is asked at vrfy.
func (w *Worker) Vrfy(handler Handler, options ...Option) { w.Handle("vrfy", handler, options...) }

// Help registers a handler that is asked at help.
func (w *Worker) Help(handler Handler, options ...Option) { w.Handle("help", handler, options...) }

// Noop registers a handler that is asked at noop.
func (w *Worker) Noop(handler Handler, options ...Option) { w.Handle("noop", handler, options...) }

// UnrecognizedCommand registers a handler that is asked at unrecognized_command.
func (w *Worker) UnrecognizedCommand(handler Handler, options ...Option) {
	w.Handle("unrecognized_command", handler, options...)
}

// Quit registers a handler that is asked at quit.
func (w *Worker) Quit(handler Handler, options ...Option) { w.Handle("quit", handler, options...) }

// ResetTransaction registers a handler that is told at reset_transaction.
func (w *Worker) ResetTransaction(handler Handler, options ...Option) {
	w.Handle("reset_transaction", handler, options...)
}

// QueuePost registers a handler that is told at queue_post.
func (w *Worker) QueuePost(handler Handler, options ...Option) {
	w.Handle("queue_post", handler, options...)
}

// Deny registers a handler that is told at deny.
func (w *Worker) Deny(handler Handler, options ...Option) { w.Handle("deny", handler, options...) }

// OK registers a handler that is told at ok.
func (w *Worker) OK(handler Handler, options ...Option) { w.Handle("ok", handler, options...) }

// Disconnect registers a handler that is told at disconnect.
func (w *Worker) Disconnect(handler Handler, options ...Option) {
	w.Handle("disconnect", handler, options...)
}

// Status registers a handler that is told at status.
func (w *Worker) Status(handler Handler, options ...Option) { w.Handle("status", handler, options...) }
