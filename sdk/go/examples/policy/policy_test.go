package main

import (
	"fmt"
	"strings"
	"testing"

	"gatepost/gateposttest"
)

func TestPolicy(t *testing.T) {
	t.Setenv("GATEPOST_GREYLIST_SECONDS", "0")
	session := gateposttest.NewSession(t, newWorker())
	session.Mail("bob@example.net")
	for _, row := range [][2]string{
		{"EVE@example.com", "deny 550 5.1.6 eve has left"},
		{"jo@example.org", "denysoft 450 4.7.1 Greylisted, come back later"},
		{"jo@example.org", "declined"},
		{"old@example.com", "declined"},
	} {
		if got := session.Rcpt(row[0]).String(); got != row[1] {
			t.Errorf("%s: %s", row[0], got)
		}
	}
	if got := fmt.Sprint(session.Recipients()); got != "[jo@example.org new@example.com]" {
		t.Error(got)
	}
	if got := session.Message("Subject: x\n\nbody\n").String(); got != "declined" || session.Header("X-Policy") != "go" {
		t.Error(got, session.Headers())
	}
	for fill := 65_500; fill < 65_560; fill++ { // the phrase begins at every place near an edge of 64 KiB
		got := session.Message("Subject: forbidden phrase\n\n" + strings.Repeat("y", fill) + "forbidden phrase\n").String()
		if got != "deny 554 5.7.1 The body holds a forbidden phrase" {
			t.Error(fill, got)
		}
	}
	if got := session.Message("Subject: forbidden phrase\n\nforbidden\n").String(); got != "declined" {
		t.Error(got)
	}
}

func TestGreylistingWaits(t *testing.T) {
	t.Setenv("GATEPOST_GREYLIST_SECONDS", "")
	session := gateposttest.NewSession(t, newWorker())
	session.Mail("bob@example.net")
	session.Rcpt("jo@example.org")
	if got := session.Rcpt("jo@example.org"); !got.IsRefusal() {
		t.Error(got)
	}
}
