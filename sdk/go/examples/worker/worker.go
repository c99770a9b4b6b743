// Refuses a recipient who has left, counts recipients, marks the mail: a whole policy worker.
package main

import (
	"context"
	"log"
	"strings"

	"gatepost"
)

func hasLeft(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
	if strings.EqualFold(event.Recipient().Address, "eve@example.com") {
		return gatepost.Deny("eve has left").WithCode(550, "5.1.6"), nil
	}
	asked, _ := event.SessionNotes()["asked"].(int64)
	event.SessionNotes()["asked"] = asked + 1
	return gatepost.Declined(), nil
}

func mark(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
	event.AddHeader("X-Seen-By", "example")
	return gatepost.Declined(), nil
}

func newWorker() *gatepost.Worker {
	worker := gatepost.NewWorker("example")
	worker.Rcpt(hasLeft)
	worker.DataPostHeaders(mark)
	return worker
}

func main() {
	if err := newWorker().Run(); err != nil {
		log.Fatal(err)
	}
}
