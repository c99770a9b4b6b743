#!/bin/sh
# Refuses a recipient who has left, marks the mail: a whole policy worker.
. "${GATEPOST_SHELL:-$(dirname "$0")/..}/gatepost.sh"

on_rcpt() { if [ "$1" = eve@example.com ]; then deny 550 5.1.6 'eve has left'; fi; }
on_data_post_headers() { add_header X-Seen-By shell; }

hook rcpt '.args.recipient.address | lower'
hook data_post_headers
serve example
