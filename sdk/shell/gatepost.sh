# A policy worker of POSIX shell, jq and socat: README.md beside this file.
command -v jq >/dev/null && command -v socat >/dev/null || { echo 'gatepost.sh: jq and socat are needed' >&2; exit 1; }
gp_hooks='' gp_fields='' gp_line_end='
'
hook() { # HOOK [FIELDS [MEMBERS]]: on_HOOK is called with FIELDS (jq, separated by commas); MEMBERS: what hello says of the hook
    command -v "on_$1" >/dev/null || { echo "gatepost.sh: hook $1: there is no function on_$1" >&2; exit 1; }
    gp_hooks="$gp_hooks,\"$1\":${3-"{}"}" gp_fields="$gp_fields elif .hook == \"$1\" then [${2-}]"
}
verdict() { # WORD [CODE [STATUS [LINE...]]]: the last one counts; without one it is `declined`
    gp_said=1 gp_verdict=$1 gp_code=${2-} gp_status=${3-} gp_text=''
    if [ $# -gt 3 ]; then shift 3; for gp_word; do gp_text="$gp_text$gp_line_end$gp_word"; done; fi
}
ok() { verdict ok "$@"; }; deny() { verdict deny "$@"; }; denysoft() { verdict denysoft "$@"; }
action() { gp_said=1 gp_actions="$gp_actions,$1"; }; notes() { gp_said=1 gp_notes=$1; }
add_header() { action "$(jq -nc --arg name "$1" --arg value " $2" '{op: "header.add", $name, $value}')"; }
progress() { gp_say "{\"type\":\"progress\",\"id\":$gp_id,\"extend_ms\":$1}"; }
# What jq makes of each line of the frontend's: the name of a function below without gp_, and its words, quoted for the shell.
gp_jq='
def integer: type == "number" and . == floor and . <= 9007199254740991 and . >= -9007199254740991;
def text: if type == "string" then . elif . == null then "" else tojson end; def lower: text | ascii_downcase;
def word: text | @sh | split("\n") | join("\u0027\"$gp_line_end\"\u0027");
def part($name): if .elided // [] | index($name) then error("elided") else .transaction[$name] end;
def headers: part("headers"); def recipients: part("recipients"); def message: headers as $needed | part("message");
def handler: if false then [] FIELDS else [] end | map(word) | join(" ");
([fromjson?] | first) | if type != "object" then "broken bad_frame"
elif .type == "event" then if .id | (integer and . >= 1) | not then "broken bad_message"
  elif (.hook | type != "string") or ($hooks[.hook] == null) then "fail \(.id) not_subscribed false"
  elif ([.session, .args, .notes] | all(type == "object")) and (.deadline_ms | integer) | not then "fail \(.id) bad_event true"
  elif .hook == "queue" and (.elided // [] | any([.] - ($hooks.queue.needs // []) == [])) then "fail \(.id) incomplete_event false"
  else .id as $id | try "event \($id) \(.hook) \(handler)" catch "fail \($id) \(if . == "elided" then "incomplete_event false" else "bad_event true" end)" end
elif .type == "notify" then if .hook | type == "string" and $hooks[.] then "notify \(.hook) \(try handler catch "")" else empty end
elif .type == "cancel" then if .id | integer then "cancel \(.id)" else "broken bad_message" end
elif .type == "ping" then if .n | integer then "say \({type: "pong", n} | tojson | @sh)" else "broken bad_message" end
elif .type == "pong" then empty
elif .type == "drain" then "drain \(.reason // "stopping" | tojson | word)"
elif .type == "welcome" then "welcome \(if .concurrency | integer then .concurrency else 1 end) \(.frontend.id | word)"
elif .type == "reject" then "reject \(if .retry_ms | integer then .retry_ms else 0 end) \(tojson | word)"
elif .type == "bye" or .type == "violation" then "log \(tojson | word)"
elif .type | IN("hello", "verdict", "error", "progress") then "broken unexpected_message" else "broken unknown_type" end'
gp_say() { printf '%s\n' "$1" >&4; }
gp_log() { printf 'gatepost: %s\n' "$1" >&2; }
gp_fail() { gp_say "{\"type\":\"error\",\"id\":$1,\"code\":\"$2\",\"started\":$3}"; }
gp_unwatch() { if [ -n "$gp_watch" ]; then kill "$gp_watch" 2>/dev/null; gp_watch=''; fi; }
gp_bye() { gp_unwatch; gp_say "{\"type\":\"bye\",\"code\":\"$1\"}"; kill -s PIPE "$gp_self"; exit; }
gp_broken() { gp_log "broken line: $1"; gp_bye "$1"; }
gp_reject() { gp_unwatch; gp_log "$2"; echo "$1" >"$gp_at/retry"; exit; }
gp_welcome() { # CONCURRENCY FRONTEND
    gp_most=$1; : >"$gp_at/welcome"; gp_unwatch
    if mkdir "$gp_dir/ready" 2>/dev/null; then echo "ready: worker $gp_name, pool $gp_pool, frontend $2" >&3; fi
    if [ -e "$gp_dir/stop" ]; then gp_say_drain '"stopping"'; fi
}
gp_say_drain() { if mkdir "$gp_at/drain" 2>/dev/null; then printf '{"type":"drain","reason":%s}\n' "$1" 1<>"$gp_at/out"; fi; }
gp_drain() { gp_say_drain "$1"; : >"$gp_at/drained"; gp_leave; }
gp_leave() { if [ "$(echo "$gp_at"/event.*)" = "$gp_at/event.*" ] && rm "$gp_at/drained" 2>/dev/null; then gp_bye drained; fi; }
gp_claim() { set -C; { true >"$gp_at/claim.$1"; } 2>/dev/null; set -- $?; set +C; return "$1"; } # who makes the file, answers
gp_close() { rm "$gp_at/event.$1" "$gp_at/claim.$1"; if [ -e "$gp_at/drained" ]; then gp_leave; fi; }
gp_event() { # ID HOOK FIELDS...: a handler has a process of its own, so that pings and cancels are read meanwhile
    gp_reap; gp_open=0; for gp_file in "$gp_at"/event.*; do [ ! -e "$gp_file" ] || gp_open=$((gp_open + 1)); done
    if [ "$gp_open" -ge "$gp_most" ]; then gp_fail "$1" overloaded false; return; fi
    : >"$gp_at/event.$1"; gp_work "$@" & gp_jobs="$gp_jobs $1:$!"
}
gp_notify() { gp_reap; { gp_hook=$1; shift; "on_$gp_hook" "$@" || gp_log "on_$gp_hook: exit status $?"; } >&2 4>&- & gp_jobs="$gp_jobs n:$!"; }
gp_reap() { # forgets the processes that have answered
    for gp_job in $gp_jobs; do
        shift $#; if [ -e "$gp_at/event.${gp_job%:*}" ]; then gp_left="$gp_left $gp_job"; else wait "${gp_job#*:}" || :; fi
    done
    gp_jobs=$gp_left gp_left=''
}
gp_cancel() {
    if [ ! -e "$gp_at/event.$1" ] || ! gp_claim "$1"; then return; fi
    for gp_job in $gp_jobs; do if [ "${gp_job%:*}" = "$1" ]; then kill "${gp_job#*:}" 2>/dev/null; wait "${gp_job#*:}" || :; fi; done
    gp_fail "$1" cancelled true; gp_close "$1"
}
gp_work() { # ID HOOK FIELDS...
    gp_id=$1 gp_hook=$2 gp_said='' gp_verdict=declined gp_code='' gp_status='' gp_text='' gp_notes='{}' gp_actions='' gp_result=none
    trap gp_answer EXIT; shift 2; "on_$gp_hook" "$@" >&2 </dev/null; gp_result=$?
}
gp_answer() {
    gp_line="{\"type\":\"verdict\",\"id\":$gp_id,\"verdict\":\"declined\"}" gp_error=invalid_verdict
    if [ "$gp_result" != 0 ]; then gp_line='' gp_error=exception
    elif [ -n "$gp_said" ]; then gp_line=$(jq -nc --argjson id "$gp_id" --arg verdict "$gp_verdict" --arg code "$gp_code" --arg status "$gp_status" \
        --arg text "$gp_text" --argjson notes "$gp_notes" --argjson actions "[${gp_actions#,}]" '{type: "verdict", $id, $verdict,
        reply: ({code: ($code | tonumber? // null), status: ($status | if . == "" then null else . end),
          text: ($text | if . == "" then null else .[1:] | split("\n") end)} | with_entries(select(.value != null))),
        $notes, $actions} | with_entries(select(.value != {} and .value != []))') || gp_line=''; fi
    if [ ${#gp_line} -gt 4000 ]; then gp_line=''; fi # a pipe would take a longer one in pieces, and mix it with a pong
    gp_claim "$gp_id" || return
    if [ -n "$gp_line" ]; then gp_say "$gp_line"; else gp_log "on_$gp_hook: $gp_error, exit status $gp_result"; gp_fail "$gp_id" "$gp_error" true; fi
    gp_close "$gp_id"
}
gp_talk() { # one connection: lines of jq's at 0, lines to the frontend at 4
    LC_ALL=C gp_watch='' gp_jobs='' gp_left='' gp_self=$(exec sh -c 'echo $PPID'); gp_say "$gp_hello"
    { sleep 5 3>&- 4>&- >/dev/null 2>&1; gp_bye timeout; } & gp_watch=$!
    while IFS= read -r gp_line && kill -0 $$ 2>/dev/null; do
        if [ -e "$gp_at/welcome" ]; then case $gp_line in welcome*|reject*) gp_line='broken unexpected_message' ;; esac
        else case $gp_line in event*|notify*|fail*|cancel*|say*|drain*) gp_line='broken unexpected_message' ;; esac; fi
        eval "gp_$gp_line"
    done
    gp_unwatch; if [ -n "${GATEPOST_STDIO-}" ]; then wait; fi
    for gp_job in $gp_jobs; do if [ -e "$gp_at/event.${gp_job%:*}" ]; then kill "${gp_job#*:}" 2>/dev/null; fi; done
}
gp_dial() { # SOCKET: dials until it is gone, or the worker stops
    gp_backoff=50
    while [ -S "$1" ] && [ ! -e "$gp_dir/stop" ] && kill -0 $$ 2>/dev/null; do
        gp_at=$gp_dir/${1##*/}/connection; mkdir "$gp_at" && mkfifo "$gp_at/out" || break
        socat -t 0.1 - "UNIX-CONNECT:$1" <"$gp_at/out" 2>/dev/null | jq -Rr --unbuffered --argjson hooks "{${gp_hooks#,}}" "$gp_jq" | gp_talk 4>"$gp_at/out"
        if [ -e "$gp_at/welcome" ]; then gp_backoff=50; fi
        gp_wait=$(($(od -An -N2 -tu2 /dev/urandom) % gp_backoff)) gp_retry=0; if [ -e "$gp_at/retry" ]; then read -r gp_retry <"$gp_at/retry"; fi
        if [ "$gp_retry" -gt "$gp_wait" ]; then gp_wait=$gp_retry; fi
        gp_backoff=$((gp_backoff < 1000 ? gp_backoff * 2 : 2000)); rm -rf "$gp_at"
        sleep "$((gp_wait / 1000)).$(printf %03d $((gp_wait % 1000)))"
    done
    rm -rf "${gp_at%/*}"
}
gp_stop() {
    if [ -e "$gp_dir/stop" ]; then exit 143; fi
    : >"$gp_dir/stop"; for gp_at in "$gp_dir"/*/connection; do if [ -e "$gp_at/welcome" ]; then gp_say_drain '"stopping"'; fi; done
}
serve() { # NAME [MEMBERS]: serves until SIGTERM; MEMBERS is what hello says beside the usual
    gp_name=$1 gp_pool=${GATEPOST_POOL:-policy} gp_jq="${gp_jq%%FIELDS*}$gp_fields${gp_jq#*FIELDS}"
    gp_hello=$(jq -nc --arg name "$1" --arg pool "$gp_pool" --argjson hooks "{${gp_hooks#,}}" --argjson more "${2-"{}"}" '{type: "hello", protocol: [1, 1],
        $pool, worker: {$name, sdk: "gatepost-shell/0.1.0"}, concurrency: 1, max_frame: 1048576, violations: true, $hooks} + $more') || exit
    echo '{"type":"pong"}' | jq -R --argjson hooks '{}' "$gp_jq" || exit # is it right?
    gp_dir=$(mktemp -d) || exit; trap 'rm -rf "$gp_dir"' EXIT; trap gp_stop TERM INT; exec 3>&1
    if [ -n "${GATEPOST_STDIO-}" ]; then # testing.sh: the frontend is at 0 and 1
        gp_at=$gp_dir; jq -Rr --unbuffered --argjson hooks "{${gp_hooks#,}}" "$gp_jq" | gp_talk 4>&1 3>&2; return
    fi
    while [ ! -e "$gp_dir/stop" ]; do
        for gp_socket in "${GATEPOST_RUNTIME_DIRECTORY:-var/run}/pools/$gp_pool"/*.sock; do
            if [ -S "$gp_socket" ] && [ ! -d "$gp_dir/${gp_socket##*/}" ]; then mkdir "$gp_dir/${gp_socket##*/}"; gp_dial "$gp_socket" & fi
        done
        sleep 1 & wait $!
    done
    gp_turn=0; while [ "$(echo "$gp_dir"/*/connection)" != "$gp_dir/*/connection" ] && [ $gp_turn -lt 600 ]; do gp_turn=$((gp_turn + 1)); sleep 0.1; done
}
