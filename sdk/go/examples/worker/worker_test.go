package main

import (
	"testing"

	"gatepost/gateposttest"
)

func TestEveHasLeft(t *testing.T) {
	session := gateposttest.NewSession(t, newWorker())
	session.Mail("bob@example.net")
	if verdict := session.Rcpt("eve@example.com"); verdict.Code != 550 {
		t.Error(verdict)
	}
}
