# Asks a plugin's file ($WORKER) without a server. Each function prints the answer: `deny 550 5.1.6 eve has left`, then one action a line.
: "${WORKER:?the plugin file to test}"
# ask HOOK [CHANGES]: one event; CHANGES is jq that makes another event of it
ask() {
    # shellcheck disable=SC2016
    jq -nc --arg hook "$1" '{type: "welcome", protocol: 1, frontend: {id: "test"}, max_frame: 1048576, concurrency: 1}, ({type: "event",
        id: 1, key: "k", $hook, attempt: 1, deadline_ms: 20000, session: {id: "s", listener: "mx", client: {ip: "192.0.2.1", port: 1, name: null},
          hello: {verb: "EHLO", name: "client.example"}, tls: null, auth: null, relay: false},
        transaction: {id: "s.1", sender: {address: "bob@example.net", local: "bob", domain: "example.net", params: []}, recipient_count: 0},
        args: {}, notes: {session: {}, transaction: {}}} | '"${2:-.}"')' | GATEPOST_STDIO=1 sh "$WORKER" |
        jq -r 'select(.type == "verdict" or .type == "error") |
            ([.verdict // "error \(.code)", .reply.code, .reply.status] + (.reply.text // []) | map(select(. != null) | tostring) | join(" ")),
            (.actions // [] | .[] | tojson)'
}
# rcpt ADDRESS [CHANGES]
rcpt() {
    ask rcpt ".args.recipient = {id: 1, address: $(jq -nc --arg a "$1" '$a'), params: []} | ${2:-.}"
}
# message HOOK FILE: data_post_headers to queue; the file's header is not read
message() {
    gp_test_offset=$(awk '{ n += length($0) + 1 } /^\r?$/ { print n - length($0) - 1; exit }' "$2")
    ask "$1" ".transaction += {headers: [], recipients: [], message: {path: $(jq -nc --arg a "$2" '$a'), size: $(wc -c <"$2"), body_offset: ${gp_test_offset:-0}}}"
}
