#!/bin/sh
# Refuses who has left, replaces an address, greylists in files, refuses a phrase, marks the mail.
. "${GATEPOST_SHELL:-$(dirname "$0")/..}/gatepost.sh"

seconds=${GATEPOST_GREYLIST_SECONDS:-300}
first_seen=$(mktemp -d) || exit

on_rcpt() { # ADDRESS ID CLIENT SENDER
    case $1 in
    eve@example.com)
        deny 550 5.1.6 'eve has left'
        return
        ;;
    old@example.com)
        action "{\"op\":\"recipient.replace\",\"id\":$2,\"address\":\"new@example.com\"}"
        return
        ;;
    esac
    set -- "$first_seen/$(printf '%s\n' "$3" "$4" "$1" | sha256sum | cut -c 1-64)" "$(date +%s)"
    if [ ! -e "$1" ]; then
        echo "$2" >"$1" || return
        denysoft 450 4.7.1 'Greylisted, come back later'
    elif [ "$2" -lt $(($(cat "$1") + seconds)) ]; then
        denysoft 450 4.7.1 'Greylisted, come back later'
    fi
}

on_data_post() { # FILE OFFSET
    [ -r "$1" ] || return
    tail -c "+$(($2 + 1))" "$1" | grep -aq 'forbidden phrase'
    case $? in
    0) deny 554 5.7.1 'The body holds a forbidden phrase' ;;
    1) add_header X-Policy shell ;;
    *) return 2 ;;
    esac
}

hook rcpt '(.args.recipient.address | lower), .args.recipient.id, .session.client.ip, (.transaction.sender.address | lower)'
hook data_post 'message.path, message.body_offset' '{"needs":["headers","message"]}'
serve policy
rm -rf "$first_seen"
