/* Replays the golden transcripts of a worker (protocol/golden/README.md): line by line, octet by octet, and in one piece.
   `replay FILE...`: the exit code is 1 if one of them does not hold. */
#define _GNU_SOURCE
#include "../gatepost_test.h"

typedef struct json_object json;

struct replay {
    const char *name, *splitting;
    gp_connection *connection;
    json *expected, *said, *cancelled;
    char *waiting;
    size_t waiting_octets, whole[4096], wholes;
    bool failed;
};

static void fail(struct replay *replay, const char *what, json *one, json *other) {
    fprintf(stderr, "%s (%s): %s\n", replay->name, replay->splitting, what);
    if (one) fprintf(stderr, "  expected: %.2000s\n", json_object_to_json_string_ext(one, JSON_C_TO_STRING_PLAIN));
    if (other) fprintf(stderr, "  got:      %.2000s\n", json_object_to_json_string_ext(other, JSON_C_TO_STRING_PLAIN));
    replay->failed = true;
}

static void quiet(enum gp_level level, const char *text, void *context) {
    (void)level;
    (void)text;
    (void)context;
}

static json *get(json *object, const char *key) { return gp_test_get(object, key); }

static gp_verdict answer(gp_event *event, json *script) {
    if (get(script, "raise")) return gp_fail(event, "%s", json_object_get_string(get(script, "raise")));
    if (!get(script, "verdict")) return GP_DECLINED;
    json *reply = get(script, "reply"), *text = get(reply, "text"), *notes = get(script, "notes"), *actions = get(script, "actions");
    if (reply) gp_reply(event, json_object_get_int(get(reply, "code")), gp_test_string(reply, "status"), NULL);
    for (size_t index = 0; text && index < json_object_array_length(text); index++)
        gp_reply_line(event, "%s", json_object_get_string(json_object_array_get_idx(text, index)));
    if (get(notes, "session")) gp_patch_notes(event, "session", gp_test_copy(get(notes, "session")));
    if (get(notes, "transaction")) gp_patch_notes(event, "transaction", gp_test_copy(get(notes, "transaction")));
    for (size_t index = 0; actions && index < json_object_array_length(actions); index++)
        gp_action(event, gp_test_copy(json_object_array_get_idx(actions, index)));
    return gp_verdict_of_word(json_object_get_string(get(script, "verdict")));
}

static void on_cancel(gp_event *event, void *script) { gp_answer(event, answer(event, script)); }

static gp_verdict scripted(gp_event *event, void *script) {
    if (get(script, "progress")) gp_progress(event, json_object_get_int64(get(script, "progress")));
    if (!gp_test_is(script, "until", "cancel")) return answer(event, script);
    gp_on_cancel(event, on_cancel, script);
    return GP_LATER;
}

static gp_worker *worker_of(json *header) {
    json *hello = get(header, "hello"), *about = get(hello, "worker");
    gp_options options = {.concurrency = 4, .max_frame = 65536, .log = quiet};
    if (get(hello, "concurrency")) options.concurrency = json_object_get_int(get(hello, "concurrency"));
    if (get(hello, "concurrency") && !options.concurrency) options.concurrency = -1;
    if (get(hello, "max_frame")) options.max_frame = (size_t)json_object_get_int64(get(hello, "max_frame"));
    options.pool = gp_test_string(hello, "pool");
    options.version = gp_test_string(about, "version");
    options.instance = gp_test_string(about, "instance");
    gp_worker *worker = gp_worker_new(gp_test_string(about, "name") ? gp_test_string(about, "name") : "demo", &options);
    json_object_object_foreach(get(header, "plugins"), hook, script) {
        static const char *const needs[] = {"recipients", "headers", "message", "trace"};
        unsigned flags = 0;
        json *list = get(script, "needs"), *extensions = get(script, "extensions");
        for (size_t index = 0; list && index < json_object_array_length(list); index++)
            for (unsigned need = 0; need < 4; need++)
                if (!strcmp(json_object_get_string(json_object_array_get_idx(list, index)), needs[need])) flags |= 1u << need;
        for (size_t index = 0; extensions && index < json_object_array_length(extensions); index++)
            flags |= strcmp(json_object_get_string(json_object_array_get_idx(extensions, index)), "FUTURERELEASE") ? GP_MT_PRIORITY : GP_FUTURERELEASE;
        if (json_object_get_boolean(get(script, "observe"))) flags |= GP_OBSERVE;
        if (json_object_get_boolean(get(script, "idempotent"))) flags |= GP_IDEMPOTENT;
        gp_hook(worker, hook, scripted, script, flags);
    }
    return worker;
}

static void hear(struct replay *replay) {
    size_t length;
    char *octets = gp_connection_take(replay->connection, &length);
    for (char *at = octets; at && at < octets + length;) {
        const char *why;
        char *end = memchr(at, '\n', (size_t)(octets + length - at));
        json *line = end ? gp_parse(at, (size_t)(end - at), &why) : NULL;
        if (!line) {
            fail(replay, "the worker wrote what is no line", NULL, NULL);
            break;
        }
        json_object_array_add(replay->said, line);
        at = end + 1;
    }
    free(octets);
}

static void feed(struct replay *replay, const char *octets, size_t length) {
    /* A block of its own size: what reads beyond it is found. */
    char *copy = malloc(length ? length : 1);
    if (length) memcpy(copy, octets, length);
    gp_connection_feed(replay->connection, copy, length);
    free(copy);
    hear(replay);
}

static void barrier(struct replay *replay) {
    size_t at = 0;
    if (!strcmp(replay->splitting, "octet"))
        for (; at < replay->waiting_octets; at++) feed(replay, replay->waiting + at, 1);
    else if (!strcmp(replay->splitting, "line"))
        for (size_t index = 0; index < replay->wholes; at = replay->whole[index++]) feed(replay, replay->waiting + at, replay->whole[index] - at);
    else if (replay->waiting_octets)
        feed(replay, replay->waiting, replay->waiting_octets);
    replay->waiting_octets = replay->wholes = 0;
    if (json_object_array_length(replay->said) < json_object_array_length(replay->expected)) fail(replay, "a line is missing", replay->expected, replay->said);
}

static char *octets_of(json *step, size_t *length) {
    if (get(step, "line")) {
        char *text = NULL;
        *length = (size_t)asprintf(&text, "%s\n", json_object_to_json_string_ext(get(step, "line"), JSON_C_TO_STRING_PLAIN));
        return text;
    }
    char *raw = gp_test_octets(get(step, "raw"), length);
    if (!get(step, "fill")) return raw;
    const char *fill = gp_test_string(step, "fill"), *tail = gp_test_string(step, "tail");
    size_t total = (size_t)json_object_get_int64(get(step, "total")), after = strlen(tail);
    char *whole = malloc(total + 1);
    memcpy(whole, raw, *length);
    memset(whole + *length, fill[0], total - *length - after);
    memcpy(whole + total - after, tail, after);
    *length = total;
    free(raw);
    return whole;
}

static bool is_answer(json *line) { return gp_test_is(line, "type", "verdict") || gp_test_is(line, "type", "error"); }

static bool is_empty(json *value) {
    return (json_object_is_type(value, json_type_array) && !json_object_array_length(value)) || (json_object_is_type(value, json_type_object) && !json_object_object_length(value));
}

static bool same_hooks(json *one, json *other) {
    if (json_object_object_length(one) != json_object_object_length(other)) return false;
    json_object_object_foreach(one, hook, said) {
        json *found = get(other, hook), *needs = get(said, "needs"), *got = get(found, "needs");
        if (!found || json_object_get_boolean(get(said, "observe")) != json_object_get_boolean(get(found, "observe"))
            || json_object_get_boolean(get(said, "idempotent")) != json_object_get_boolean(get(found, "idempotent")))
            return false;
        size_t count = needs ? json_object_array_length(needs) : 0;
        if (count != (got ? json_object_array_length(got) : 0)) return false;
        for (size_t index = 0; index < count; index++) {
            bool is_there = false;
            for (size_t at = 0; at < count; at++) is_there |= json_object_equal(json_object_array_get_idx(needs, index), json_object_array_get_idx(got, at));
            if (!is_there) return false;
        }
    }
    return true;
}

static bool matches(struct replay *replay, json *shown, json *said) {
    char id[32];
    snprintf(id, sizeof id, "%lld", (long long)json_object_get_int64(get(said, "id")));
    if (get(replay->cancelled, id) && is_answer(said)) return is_answer(shown);
    bool is_hello = gp_test_is(shown, "type", "hello");
    json_object_object_foreach(shown, key, value) {
        json *got = get(said, key);
        if (!strcmp(key, "message") || (is_hello && !strcmp(key, "plugins"))) continue;
        if (is_hello && !strcmp(key, "worker")) {
            if (!json_object_equal(get(value, "name"), get(got, "name"))) return false;
        } else if (is_hello && !strcmp(key, "hooks")) {
            if (!same_hooks(value, got)) return false;
        } else if (!json_object_equal(value, got)) {
            return false;
        }
    }
    if (is_hello) return true;
    json_object_object_foreach(said, name, rest) {
        bool is_free = !strcmp(name, "plugin") || !strcmp(name, "trace") || !strcmp(name, "message");
        if (!is_free && !is_empty(rest) && !json_object_object_get_ex(shown, name, NULL)) return false;
    }
    return true;
}

/* The n-th line with this id. */
static json *with_id(json *lines, json *id, size_t n) {
    for (size_t index = 0; index < json_object_array_length(lines); index++) {
        json *line = json_object_array_get_idx(lines, index);
        if (json_object_equal(get(line, "id"), id) && !n--) return line;
    }
    return NULL;
}

static void compare(struct replay *replay) {
    if (json_object_array_length(replay->said) != json_object_array_length(replay->expected)) {
        fail(replay, "another number of lines", replay->expected, replay->said);
        return;
    }
    for (size_t index = 0; index < json_object_array_length(replay->expected); index++) {
        json *shown = json_object_array_get_idx(replay->expected, index), *id = get(shown, "id");
        size_t n = 0;
        for (size_t before = 0; before < index; before++) n += json_object_equal(get(json_object_array_get_idx(replay->expected, before), "id"), id);
        json *said = with_id(replay->said, id, n);
        if (!said || !matches(replay, shown, said)) fail(replay, "another line", shown, said);
    }
}

static json *transcript(const char *path) {
    size_t length;
    char *text = gp_test_file(path, 0, &length);
    json *lines = json_object_new_array();
    for (char *at = text; at && at < text + length;) {
        char *end = memchr(at, '\n', (size_t)(text + length - at));
        const char *why;
        json *line = gp_parse(at, (size_t)(end - at), &why);
        if (!line) gp_test_stop(path);
        json_object_array_add(lines, line);
        at = end + 1;
    }
    free(text);
    return lines;
}

static bool replay_file(const char *path, const char *splitting, json *lines) {
    json *header = json_object_array_get_idx(lines, 0);
    gp_worker *worker = worker_of(header);
    struct replay replay = {.name = path, .splitting = splitting, .expected = json_object_new_array(), .said = json_object_new_array(), .cancelled = json_object_new_object()};
    replay.connection = gp_connection_new(worker);
    bool is_open = true;
    hear(&replay);
    for (size_t index = 1; index < json_object_array_length(lines) && !replay.failed; index++) {
        json *step = json_object_array_get_idx(lines, index), *line = get(step, "line");
        if (gp_test_is(step, "from", "worker")) {
            json_object_array_add(replay.expected, json_object_get(line));
        } else if (gp_test_is(step, "from", "frontend")) {
            size_t length;
            char *octets = octets_of(step, &length), id[32];
            replay.waiting = realloc(replay.waiting, replay.waiting_octets + length + 1);
            memcpy(replay.waiting + replay.waiting_octets, octets, length);
            replay.waiting_octets += length;
            replay.whole[replay.wholes++] = replay.waiting_octets;
            free(octets);
            snprintf(id, sizeof id, "%lld", (long long)json_object_get_int64(get(line, "id")));
            if (gp_test_is(line, "type", "cancel")) json_object_object_add(replay.cancelled, id, json_object_new_boolean(true));
        } else if (gp_test_is(step, "stop", "worker")) {
            barrier(&replay);
            gp_connection_drain(replay.connection);
            hear(&replay);
        } else if (gp_test_is(step, "close", "worker")) {
            barrier(&replay);
            is_open = false;
            if (!gp_connection_closed(replay.connection)) fail(&replay, "the worker has not closed", NULL, NULL);
        } else if (gp_test_is(step, "close", "frontend")) {
            barrier(&replay);
            is_open = false;
            gp_connection_lost(replay.connection);
        }
    }
    if (!replay.failed) barrier(&replay);
    if (is_open && !replay.failed && !gp_connection_closed(replay.connection)) {
        feed(&replay, "{\"type\":\"ping\",\"n\":424242}\n", 27);
        json_object_array_add(replay.expected, gp_test_parse("{\"type\":\"pong\",\"n\":424242}"));
    }
    if (!replay.failed) compare(&replay);
    if (!replay.failed && gp_connection_outstanding(replay.connection)) fail(&replay, "an event has no answer", NULL, NULL);
    gp_connection_free(replay.connection);
    gp_worker_free(worker);
    json_object_put(replay.expected);
    json_object_put(replay.said);
    json_object_put(replay.cancelled);
    free(replay.waiting);
    return !replay.failed;
}

int main(int count, char **paths) {
    static const char *const splittings[] = {"line", "octet", "whole"};
    int replayed = 0, failed = 0;
    for (int index = 1; index < count; index++) {
        json *lines = transcript(paths[index]);
        if (!gp_test_is(json_object_array_get_idx(lines, 0), "side", "frontend")) {
            replayed++;
            bool holds = true;
            for (int splitting = 0; splitting < 3; splitting++) holds &= replay_file(paths[index], splittings[splitting], lines);
            failed += !holds;
        }
        json_object_put(lines);
    }
    printf("replay: %d transcripts in three splittings, %d failed\n", replayed, failed);
    return failed || replayed < 70;
}
