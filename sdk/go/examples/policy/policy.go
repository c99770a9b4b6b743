// The plugin that every SDK has: a recipient who has left, one who has another address, greylisting, a phrase in the body.
package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatepost"
)

// mostSeen is how many attempts are remembered; then they are forgotten.
const mostSeen = 100_000

type attempt struct{ clientIP, sender, recipient string }

// policy remembers when each attempt was seen first.
type policy struct {
	wait      time.Duration
	mutex     sync.Mutex
	firstSeen map[attempt]time.Time
}

func (p *policy) recipients(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
	recipient := event.Recipient()
	switch address := recipient.Address; {
	case strings.EqualFold(address, "eve@example.com"):
		return gatepost.Deny("eve has left").WithCode(550, "5.1.6"), nil
	case strings.EqualFold(address, "old@example.com"):
		event.ReplaceRecipient(recipient.ID, "new@example.com")
		return gatepost.Declined(), nil
	default:
		if p.passes(attempt{event.Session.ClientIP, event.Sender().Address, address}) {
			return gatepost.Declined(), nil
		}
		return gatepost.Denysoft("Greylisted, come back later").WithCode(450, "4.7.1"), nil
	}
}

func (p *policy) passes(key attempt) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	first, isSeen := p.firstSeen[key]
	if isSeen {
		return time.Since(first) >= p.wait
	}
	if len(p.firstSeen) >= mostSeen {
		p.firstSeen = map[attempt]time.Time{}
	}
	p.firstSeen[key] = time.Now()
	return false
}

var forbidden = []byte("forbidden phrase")

func phrase(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
	body, err := event.OpenBody()
	if err != nil {
		return gatepost.Verdict{}, err
	}
	defer body.Close()
	buffer := make([]byte, 0, 65536)
	for {
		count, err := body.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+count]
		if bytes.Contains(buffer, forbidden) {
			return gatepost.Deny("The body holds a forbidden phrase").WithCode(554, "5.7.1"), nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return gatepost.Verdict{}, err
		}
		if keep := len(forbidden) - 1; len(buffer) > keep { // the phrase may go over the edge
			buffer = append(buffer[:0], buffer[len(buffer)-keep:]...)
		}
	}
	event.AddHeader("X-Policy", "go")
	return gatepost.Declined(), nil
}

func newWorker() *gatepost.Worker {
	seconds, err := strconv.ParseFloat(os.Getenv("GATEPOST_GREYLIST_SECONDS"), 64)
	if err != nil {
		seconds = 300
	}
	p := &policy{wait: time.Duration(seconds * float64(time.Second)), firstSeen: map[attempt]time.Time{}}
	worker := gatepost.NewWorker("policy")
	worker.Rcpt(p.recipients)
	worker.DataPost(phrase, gatepost.Needs("headers", "message"))
	return worker
}

func main() {
	if err := newWorker().Run(); err != nil {
		log.Fatal(err)
	}
}
