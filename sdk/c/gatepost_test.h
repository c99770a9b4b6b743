/* gatepost_test.h: tests a worker without a server. A session asks the worker's handlers as a frontend would, and keeps what
   they did to it. README.md explains it. */
#ifndef GATEPOST_TEST_H
#define GATEPOST_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* before any other header: memrchr, memmem, open_memstream */
#endif
#include "gatepost.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a handler answered. Strings live until the next question. */
typedef struct {
    gp_verdict word;           /* GP_FAIL: an error; GP_LATER: no answer yet, see gp_test_answer */
    int code;                  /* 0 if it left the code to the frontend */
    const char *status, *text; /* NULL likewise; `text` is the first line */
    const char *error, *message; /* the error's code and message; NULL without */
    struct json_object *json;  /* the message itself; NULL if no handler was asked */
} gp_test_verdict;

typedef struct {
    gp_worker *worker;
    gp_connection *connection;
    struct json_object *session, *notes, *transaction_notes, *sender, *recipients, *headers, *message, *answer, *trace, *refused, *candidate;
    char *folder, *pool, *challenge_state;
    size_t state_octets;
    int64_t events, transactions, last_recipient, last_field, deadline_ms, delay_ms;
    bool in_transaction;
    bool replies_each; /* whether the client hears a reply for each recipient, as with LMTP */
    gp_test_verdict last_verdict;
    /* Called with an error of a handler, an invalid verdict for one. NULL: it is printed, and the program ends with 1. */
    void (*on_failure)(const char *code, const char *message, void *context);
    void *failure_context;
} gp_test_session;

static inline struct json_object *gp_test_get(struct json_object *object, const char *key) {
    struct json_object *value = NULL;
    if (json_object_is_type(object, json_type_object)) json_object_object_get_ex(object, key, &value);
    return value;
}

static inline const char *gp_test_string(struct json_object *object, const char *key) {
    struct json_object *value = gp_test_get(object, key);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static inline bool gp_test_is(struct json_object *object, const char *key, const char *word) {
    const char *found = gp_test_string(object, key);
    return found && !strcmp(found, word);
}

static inline void gp_test_stop(const char *what) {
    fprintf(stderr, "gatepost test: %s\n", what);
    exit(1);
}

static inline struct json_object *gp_test_parse(const char *text) {
    const char *why;
    struct json_object *value = gp_parse(text, strlen(text), &why);
    if (!value) gp_test_stop(why);
    return value;
}

static inline char *gp_test_octets(struct json_object *field, size_t *length) {
    char *octets = gp_bytes_of_field(field, length);
    if (!octets) gp_test_stop("a field is not of type Bytes");
    return octets;
}

static inline struct json_object *gp_test_field(const char *text) { return gp_field_of_bytes(text, strlen(text)); }

/* An address as events have it; `parameters` as the client writes them ("SMTPUTF8", "SIZE=9"), NULL for none. */
static inline struct json_object *gp_test_path(const char *address, size_t length, const char *parameters) {
    struct json_object *path = json_object_new_object(), *list = json_object_new_array();
    const char *at = memrchr(address, '@', length);
    size_t local = at ? (size_t)(at - address) : length;
    char *plain = (char *)calloc(1, local + 1);
    if (!plain) gp_test_stop("no memory is left");
    size_t used = 0;
    bool is_quoted = local > 1 && address[0] == '"' && address[local - 1] == '"';
    for (size_t index = is_quoted; index + is_quoted < local; index++)
        if (!is_quoted || address[index] != '\\') plain[used++] = address[index];
    json_object_object_add(path, "address", gp_field_of_bytes(address, length));
    json_object_object_add(path, "local", gp_field_of_bytes(plain, used));
    json_object_object_add(path, "domain", at ? gp_field_of_bytes(at + 1, length - local - 1) : NULL);
    free(plain);
    for (const char *word = parameters; word && *word;) {
        size_t end = strcspn(word, " "), key = strcspn(word, "= ");
        struct json_object *pair = json_object_new_array();
        json_object_array_add(pair, json_object_new_string_len(word, (int)key));
        json_object_array_add(pair, key < end ? gp_field_of_bytes(word + key + 1, end - key - 1) : NULL);
        json_object_array_add(list, pair);
        word += end + strspn(word + end, " ");
    }
    json_object_object_add(path, "params", list);
    return path;
}

static inline void gp_test_reset_transaction(gp_test_session *session) {
    struct json_object **parts[] = {&session->sender, &session->recipients, &session->headers, &session->message, &session->transaction_notes, &session->refused};
    for (size_t index = 0; index < sizeof parts / sizeof parts[0]; index++) {
        json_object_put(*parts[index]);
        *parts[index] = NULL;
    }
    session->recipients = json_object_new_array();
    session->headers = json_object_new_array();
    session->refused = json_object_new_array();
    session->transaction_notes = json_object_new_object();
    session->in_transaction = false;
    session->last_recipient = session->last_field = 0;
}

/* A session of a client at 192.0.2.1 that is connected and has said nothing; its files lie in a folder of its own. */
static inline gp_test_session *gp_test_new(gp_worker *worker) {
    gp_test_session *session = (gp_test_session *)calloc(1, sizeof *session);
    char folder[] = "/tmp/gatepost-XXXXXX", path[64], welcome[512];
    if (!session || !worker || !mkdtemp(folder)) gp_test_stop("no worker, or no folder for messages under /tmp");
    session->worker = worker;
    session->folder = strdup(folder);
    session->deadline_ms = 60000;
    session->connection = gp_connection_new(worker);
    size_t length;
    struct json_object *hello;
    char *line = gp_connection_take(session->connection, &length);
    hello = line ? gp_parse(line, length - 1, NULL) : NULL;
    const char *pool = hello ? gp_test_string(hello, "pool") : NULL;
    if (!pool) gp_test_stop("the worker has no hello");
    session->pool = strdup(pool);
    snprintf(path, sizeof path, "%s/out", folder);
    if (mkdir(path, 0700) != 0) gp_test_stop("no folder for messages");
    snprintf(welcome, sizeof welcome, "%s/out/%s", folder, pool);
    if (mkdir(welcome, 0700) != 0) gp_test_stop("no folder for messages");
    snprintf(welcome, sizeof welcome,
             "{\"type\":\"welcome\",\"protocol\":1,\"frontend\":{\"id\":\"test\",\"version\":\"0.1.0\",\"hostname\":\"mx.example.org\"},"
             "\"connection\":\"w1\",\"max_frame\":16777216,\"concurrency\":65535,\"spool\":\"%s\"}\n", folder);
    gp_connection_feed(session->connection, welcome, strlen(welcome));
    json_object_put(hello);
    free(line);
    session->session = gp_test_parse(
        "{\"id\":\"T1\",\"listener\":\"mx\",\"started_ms\":1732322669123,\"client\":{\"ip\":\"192.0.2.1\",\"port\":50000,\"name\":null},"
        "\"server\":{\"ip\":\"192.0.2.25\",\"port\":25},\"proxy\":null,\"hello\":null,\"tls\":null,\"auth\":null,\"relay\":false,"
        "\"early_talker\":false,\"counters\":{\"commands\":0,\"errors\":0,\"unrecognized\":0,\"transactions\":0,\"rcpt_ok\":0,\"rcpt_denied\":0}}");
    session->notes = json_object_new_object();
    session->trace = json_object_new_array();
    gp_test_reset_transaction(session);
    return session;
}

static inline void gp_test_free(gp_test_session *session) {
    if (!session) return;
    gp_connection_free(session->connection);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", session->folder); /* a name that mkdtemp made */
    if (system(command) != 0) fprintf(stderr, "gatepost test: %s stays\n", session->folder);
    struct json_object *parts[] = {session->session, session->notes, session->transaction_notes, session->sender, session->recipients,
                                   session->headers, session->message, session->answer, session->trace, session->refused, session->candidate};
    for (size_t index = 0; index < sizeof parts / sizeof parts[0]; index++) json_object_put(parts[index]);
    free(session->folder);
    free(session->pool);
    free(session->challenge_state);
    free(session);
}

/* What an answer changes */

static inline void gp_test_merge(struct json_object *target, struct json_object *patch) {
    json_object_object_foreach(patch, key, value) {
        if (!value) {
            json_object_object_del(target, key);
        } else if (json_object_is_type(value, json_type_object)) {
            struct json_object *inner = gp_test_get(target, key);
            if (!json_object_is_type(inner, json_type_object)) json_object_object_add(target, key, inner = json_object_new_object());
            gp_test_merge(inner, value);
        } else {
            json_object_object_add(target, key, json_object_get(value));
        }
    }
}

static inline bool gp_test_has_id(struct json_object *item, struct json_object *action) {
    return json_object_get_int64(gp_test_get(item, "id")) == json_object_get_int64(gp_test_get(action, "id"));
}

static inline int gp_test_compare(struct json_object *one, struct json_object *other) {
    size_t first, second;
    if (!one || !other) return one != other;
    char *left = gp_test_octets(one, &first), *right = gp_test_octets(other, &second);
    int result = first != second || strncasecmp(left, right, first);
    free(left);
    free(right);
    return result;
}

static inline struct json_object *gp_test_header_field(gp_test_session *session, struct json_object *name, struct json_object *value) {
    struct json_object *field = json_object_new_object();
    size_t length;
    char *octets = gp_test_octets(value, &length), *spaced = (char *)calloc(1, length + 2);
    if (!spaced) gp_test_stop("no memory is left");
    bool is_spaced = length && (octets[0] == ' ' || octets[0] == '\t');
    spaced[0] = ' ';
    memcpy(spaced + !is_spaced, octets, length);
    json_object_object_add(field, "id", json_object_new_int64(++session->last_field));
    json_object_object_add(field, "name", json_object_get(name));
    json_object_object_add(field, "value", gp_field_of_bytes(spaced, length + !is_spaced));
    free(spaced);
    free(octets);
    return field;
}

/* This is the message from here on. */
static inline void gp_test_take(gp_test_session *session, const char *octets, size_t length) {
    struct json_object *fields = json_object_new_array();
    size_t at = 0;
    while (at < length) {
        const char *end = (const char *)memmem(octets + at, length - at, "\r\n", 2);
        size_t stop = end ? (size_t)(end - octets) : length;
        while (end && stop + 2 < length && (octets[stop + 2] == ' ' || octets[stop + 2] == '\t')) {
            end = (const char *)memmem(octets + stop + 2, length - stop - 2, "\r\n", 2);
            stop = end ? (size_t)(end - octets) : length;
        }
        const char *colon = (const char *)memchr(octets + at, ':', stop - at);
        if (!colon || colon == octets + at) break;
        struct json_object *field = json_object_new_object();
        size_t name = (size_t)(colon - octets) - at, space = 0;
        while (space < name && (colon[-1 - (ptrdiff_t)space] == ' ' || colon[-1 - (ptrdiff_t)space] == '\t')) space++;
        json_object_object_add(field, "id", json_object_new_int64(++session->last_field));
        json_object_object_add(field, "name", gp_field_of_bytes(octets + at, name - space));
        if (space) json_object_object_add(field, "space", gp_field_of_bytes(colon - space, space));
        json_object_object_add(field, "value", gp_field_of_bytes(colon + 1, (size_t)(octets + stop - colon) - 1));
        json_object_array_add(fields, field);
        at = end ? stop + 2 : length;
    }
    char path[64];
    snprintf(path, sizeof path, "%s/message-%lld", session->folder, (long long)++session->events);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(octets, 1, length, file) != length || fclose(file) != 0) gp_test_stop("the message cannot be written");
    json_object_put(session->headers);
    json_object_put(session->message);
    session->headers = fields;
    session->message = json_object_new_object();
    json_object_object_add(session->message, "path", json_object_new_string(path));
    json_object_object_add(session->message, "size", json_object_new_int64((int64_t)length));
    json_object_object_add(session->message, "body_offset", json_object_new_int64((int64_t)at));
}

static inline char *gp_test_file(const char *path, size_t offset, size_t *length) {
    FILE *file = fopen(path, "rb");
    char *octets = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0 && ftell(file) >= (long)offset) {
        *length = (size_t)ftell(file) - offset;
        octets = (char *)calloc(1, *length + 1);
        if (fseek(file, (long)offset, SEEK_SET) != 0 || !octets || fread(octets, 1, *length, file) != *length) {
            free(octets);
            octets = NULL;
        }
    }
    if (file) fclose(file);
    return octets;
}

static inline void gp_test_failed(gp_test_session *session, const char *code, const char *message) {
    if (session->on_failure) {
        session->on_failure(code, message, session->failure_context);
        return;
    }
    fprintf(stderr, "gatepost test: %s: %s\n", code, message);
    exit(1);
}

static inline bool gp_test_apply(gp_test_session *session, struct json_object *action) {
    const char *op = gp_test_string(action, "op");
    struct json_object **lists[] = {&session->headers, &session->recipients};
    if (!strcmp(op, "header.add")) {
        struct json_object *field = gp_test_header_field(session, gp_test_get(action, "name"), gp_test_get(action, "value")), *fields = json_object_new_array();
        bool is_bottom = gp_test_is(action, "at", "bottom");
        if (!is_bottom) json_object_array_add(fields, field);
        for (size_t index = 0; index < json_object_array_length(session->headers); index++)
            json_object_array_add(fields, json_object_get(json_object_array_get_idx(session->headers, index)));
        if (is_bottom) json_object_array_add(fields, field);
        json_object_put(session->headers);
        session->headers = fields;
    } else if (!strcmp(op, "recipient.add")) {
        size_t length;
        char *octets = gp_test_octets(gp_test_get(action, "address"), &length);
        struct json_object *path = gp_test_path(octets, length, NULL);
        free(octets);
        json_object_object_add(path, "id", json_object_new_int64(++session->last_recipient));
        json_object_array_add(session->recipients, path);
    } else if (!strcmp(op, "sender.replace") || !strcmp(op, "recipient.replace")) {
        size_t length, count = json_object_array_length(session->recipients);
        char *octets = gp_test_octets(gp_test_get(action, "address"), &length);
        bool is_sender = op[0] == 's';
        for (size_t index = 0; index <= count; index++) {
            struct json_object *each = is_sender ? session->sender : index < count ? json_object_array_get_idx(session->recipients, index) : session->candidate;
            if (!is_sender && (!each || !gp_test_has_id(each, action))) continue;
            struct json_object *path = gp_test_path(octets, length, NULL), *params = gp_test_get(each, "params");
            if (params) json_object_object_add(path, "params", json_object_get(params));
            if (is_sender) {
                json_object_put(session->sender);
                session->sender = path;
                break;
            }
            const char *keys[] = {"address", "local", "domain"};
            for (int key = 0; key < 3; key++) json_object_object_add(each, keys[key], json_object_get(gp_test_get(path, keys[key])));
            json_object_put(path);
        }
        free(octets);
    } else if (!strcmp(op, "message.replace")) {
        char path[512];
        size_t length;
        snprintf(path, sizeof path, "%s/out/%s/%s", session->folder, session->pool, gp_test_string(action, "path"));
        char *octets = gp_test_file(path, 0, &length);
        if (!octets) {
            gp_test_failed(session, "file_refused", "message.replace: there is no such file in the folder of gp_new_message_path");
            return false;
        }
        gp_test_take(session, octets, length);
        free(octets);
    } else if (!strcmp(op, "session.relay")) {
        json_object_object_add(session->session, "relay", json_object_get(gp_test_get(action, "value")));
    } else if (!strcmp(op, "session.client_name")) {
        json_object_object_add(gp_test_get(session->session, "client"), "name", json_object_get(gp_test_get(action, "value")));
    } else if (!strcmp(op, "reply.delay")) {
        int64_t ms = json_object_get_int64(gp_test_get(action, "ms"));
        if (ms > session->delay_ms) session->delay_ms = ms;
    } else if (!strcmp(op, "auth.challenge")) {
        free(session->challenge_state);
        session->challenge_state = gp_test_octets(gp_test_get(action, "state"), &session->state_octets);
    } else {
        bool is_all = !strcmp(op, "header.delete_all"), is_set = !strcmp(op, "header.set");
        struct json_object **list = lists[!strncmp(op, "recipient.", 10)], *kept = json_object_new_array();
        for (size_t index = 0; index < json_object_array_length(*list); index++) {
            struct json_object *each = json_object_array_get_idx(*list, index);
            bool is_meant = is_all ? !gp_test_compare(gp_test_get(each, "name"), gp_test_get(action, "name")) : gp_test_has_id(each, action);
            if (is_meant && is_set) {
                struct json_object *field = gp_test_header_field(session, gp_test_get(each, "name"), gp_test_get(action, "value"));
                json_object_object_add(field, "id", json_object_get(gp_test_get(each, "id")));
                json_object_array_add(kept, field);
            } else if (!is_meant) {
                json_object_array_add(kept, json_object_get(each));
            } else if (!strcmp(op, "recipient.refuse")) {
                json_object_array_add(session->refused, json_object_get(each));
            }
        }
        json_object_put(*list);
        *list = kept;
    }
    return true;
}

/* Of recipients that are the same the first stays; the letter case of a domain does not count. */
static inline void gp_test_without_repeats(gp_test_session *session) {
    struct json_object *kept = json_object_new_array();
    for (size_t index = 0; index < json_object_array_length(session->recipients); index++) {
        struct json_object *each = json_object_array_get_idx(session->recipients, index);
        bool is_there = false;
        for (size_t other = 0; other < json_object_array_length(kept) && !is_there; other++) {
            struct json_object *earlier = json_object_array_get_idx(kept, other);
            is_there = json_object_equal(gp_test_get(earlier, "local"), gp_test_get(each, "local")) && !gp_test_compare(gp_test_get(earlier, "domain"), gp_test_get(each, "domain"));
        }
        if (!is_there) json_object_array_add(kept, json_object_get(each));
    }
    json_object_put(session->recipients);
    session->recipients = kept;
}

/* Reads the worker's answer to the last question; needed only after GP_LATER. */
static inline gp_test_verdict gp_test_answer(gp_test_session *session) {
    size_t length;
    gp_connection_tick(session->connection);
    char *octets = gp_connection_take(session->connection, &length);
    session->last_verdict = (gp_test_verdict){.word = GP_LATER};
    for (char *at = octets; at && at < octets + length;) {
        char *end = (char *)memchr(at, '\n', (size_t)(octets + length - at));
        struct json_object *line = gp_parse(at, (size_t)(end - at), NULL);
        if (gp_test_is(line, "type", "verdict") || gp_test_is(line, "type", "error")) {
            json_object_put(session->answer);
            session->answer = line;
            session->last_verdict.word = gp_verdict_of_word(gp_test_string(line, "verdict"));
        } else {
            json_object_put(line);
        }
        at = end + 1;
    }
    free(octets);
    gp_test_verdict *verdict = &session->last_verdict;
    if (verdict->word == GP_LATER) return *verdict;
    struct json_object *answer = session->answer, *reply = gp_test_get(answer, "reply"), *text = gp_test_get(reply, "text");
    verdict->json = answer;
    if (verdict->word == GP_FAIL) {
        verdict->error = gp_test_string(answer, "code");
        verdict->message = gp_test_string(answer, "message");
        gp_test_failed(session, verdict->error ? verdict->error : "error", verdict->message ? verdict->message : "");
        return *verdict;
    }
    verdict->code = json_object_get_int(gp_test_get(reply, "code"));
    verdict->status = gp_test_string(reply, "status");
    if (text && json_object_array_length(text)) verdict->text = json_object_get_string(json_object_array_get_idx(text, 0));
    struct json_object *notes = gp_test_get(answer, "notes"), *actions = gp_test_get(answer, "actions"), *trace = gp_test_get(answer, "trace");
    if (gp_test_get(notes, "session")) gp_test_merge(session->notes, gp_test_get(notes, "session"));
    if (gp_test_get(notes, "transaction")) gp_test_merge(session->transaction_notes, gp_test_get(notes, "transaction"));
    session->delay_ms = 0;
    for (size_t index = 0; actions && index < json_object_array_length(actions); index++)
        if (!gp_test_apply(session, json_object_array_get_idx(actions, index))) break;
    for (size_t index = 0; trace && index < json_object_array_length(trace); index++)
        json_object_array_add(session->trace, json_object_get(json_object_array_get_idx(trace, index)));
    if (session->candidate && (verdict->word == GP_OK || verdict->word == GP_DECLINED)) json_object_array_add(session->recipients, json_object_get(session->candidate));
    json_object_put(session->candidate);
    session->candidate = NULL;
    gp_test_without_repeats(session);
    return *verdict;
}

static inline struct json_object *gp_test_copy(struct json_object *value) {
    struct json_object *copy = NULL;
    if (value && json_object_deep_copy(value, &copy, NULL) != 0) gp_test_stop("no memory is left");
    return copy;
}

/* Asks the handlers of a hook, or tells them; takes the reference of `args`. */
static inline gp_test_verdict gp_test_ask(gp_test_session *session, const char *hook, struct json_object *args, bool is_notification) {
    struct json_object *event = json_object_new_object(), *notes = json_object_new_object();
    json_object_object_add(event, "type", json_object_new_string(is_notification ? "notify" : "event"));
    json_object_object_add(event, "hook", json_object_new_string(hook));
    session->events++;
    if (!is_notification) {
        char key[64];
        snprintf(key, sizeof key, "T1.%lld.%lld", (long long)session->transactions, (long long)session->events);
        json_object_object_add(event, "id", json_object_new_int64(session->events));
        json_object_object_add(event, "key", json_object_new_string(key));
        json_object_object_add(event, "attempt", json_object_new_int(1));
        json_object_object_add(event, "deadline_ms", json_object_new_int64(session->deadline_ms));
    }
    json_object_object_add(event, "session", gp_test_copy(session->session));
    json_object_object_add(event, "args", args ? args : json_object_new_object());
    json_object_object_add(notes, "session", gp_test_copy(session->notes));
    if (session->in_transaction) {
        struct json_object *transaction = json_object_new_object();
        char id[64];
        snprintf(id, sizeof id, "T1.%lld", (long long)session->transactions);
        json_object_object_add(transaction, "id", json_object_new_string(id));
        json_object_object_add(transaction, "sender", gp_test_copy(session->sender));
        json_object_object_add(transaction, "recipient_count", json_object_new_int64((int64_t)json_object_array_length(session->recipients)));
        json_object_object_add(transaction, "replies_each", json_object_new_boolean(session->replies_each));
        size_t length;
        gp_connection *other = gp_connection_new(session->worker); /* its hello says what is needed */
        char *line = gp_connection_take(other, &length);
        struct json_object *hello = gp_parse(line, length - 1, NULL), *needs = gp_test_get(gp_test_get(gp_test_get(hello, "hooks"), hook), "needs");
        for (size_t index = 0; needs && index < json_object_array_length(needs); index++) {
            const char *need = json_object_get_string(json_object_array_get_idx(needs, index));
            struct json_object *part = !strcmp(need, "recipients") ? session->recipients : !session->message ? NULL : !strcmp(need, "headers") ? session->headers : !strcmp(need, "message") ? session->message : NULL;
            if (part) json_object_object_add(transaction, need, gp_test_copy(part));
        }
        json_object_put(hello);
        free(line);
        gp_connection_free(other);
        json_object_object_add(event, "transaction", transaction);
        json_object_object_add(notes, "transaction", gp_test_copy(session->transaction_notes));
    }
    json_object_object_add(event, "notes", notes);
    size_t length;
    const char *text = json_object_to_json_string_length(event, JSON_C_TO_STRING_PLAIN, &length);
    gp_connection_feed(session->connection, text, length);
    gp_connection_feed(session->connection, "\n", 1);
    json_object_put(event);
    if (gp_connection_closed(session->connection)) gp_test_stop(gp_connection_close_reason(session->connection));
    if (is_notification) return (gp_test_verdict){.word = GP_DECLINED};
    return gp_test_answer(session);
}

static inline bool gp_test_is_asked(gp_test_session *session, const char *hook) {
    size_t length;
    gp_connection *other = gp_connection_new(session->worker);
    char *line = gp_connection_take(other, &length);
    struct json_object *hello = gp_parse(line, length - 1, NULL), *said = gp_test_get(gp_test_get(hello, "hooks"), hook), *observe = gp_test_get(said, "observe");
    bool is_asked = said && !json_object_get_boolean(observe);
    json_object_put(hello);
    free(line);
    gp_connection_free(other);
    return is_asked;
}

static inline bool gp_test_goes_on(gp_test_verdict verdict) { return verdict.word == GP_OK || verdict.word == GP_DECLINED; }

/* Asks at a hook if there is a handler; else all declined. An observer is told. */
static inline gp_test_verdict gp_test_hook(gp_test_session *session, const char *hook, struct json_object *args) {
    if (gp_test_is_asked(session, hook)) return gp_test_ask(session, hook, args, false);
    gp_test_ask(session, hook, args, true);
    if (session->candidate) {
        json_object_array_add(session->recipients, session->candidate);
        session->candidate = NULL;
        gp_test_without_repeats(session);
    }
    return session->last_verdict = (gp_test_verdict){.word = GP_DECLINED};
}

static inline struct json_object *gp_test_args(const char *key, struct json_object *value) {
    struct json_object *args = json_object_new_object();
    json_object_object_add(args, key, value);
    return args;
}

/* The dialogue: as the client says it. Each returns the verdict. */

static inline gp_test_verdict gp_test_connect(gp_test_session *session) { return gp_test_hook(session, "connect", NULL); }

static inline gp_test_verdict gp_test_greet(gp_test_session *session, const char *verb, const char *hook, const char *name) {
    struct json_object *hello = gp_test_args("verb", json_object_new_string(verb));
    json_object_object_add(hello, "name", gp_test_field(name));
    json_object_object_add(session->session, "hello", hello);
    gp_test_verdict verdict = gp_test_hook(session, hook, gp_test_args("name", gp_test_field(name)));
    if (gp_test_goes_on(verdict)) gp_test_reset_transaction(session);
    return verdict;
}
static inline gp_test_verdict gp_test_helo(gp_test_session *session, const char *name) { return gp_test_greet(session, "HELO", "helo", name); }
static inline gp_test_verdict gp_test_ehlo(gp_test_session *session, const char *name) { return gp_test_greet(session, "EHLO", "ehlo", name); }

/* `args` are further members of the event's `args`, as protocol/events.md has them; NULL for a password alone. */
static inline gp_test_verdict gp_test_auth(gp_test_session *session, const char *user, const char *password, struct json_object *args) {
    if (!args) args = json_object_new_object();
    if (!gp_test_get(args, "mechanism")) json_object_object_add(args, "mechanism", json_object_new_string("PLAIN"));
    json_object_object_add(args, "user", gp_test_field(user));
    if (password) json_object_object_add(args, "password", gp_test_field(password));
    gp_test_verdict verdict = gp_test_hook(session, "auth", args);
    if (verdict.word == GP_OK) {
        struct json_object *auth = gp_test_args("mechanism", json_object_new_string("PLAIN"));
        json_object_object_add(auth, "user", gp_test_field(user));
        json_object_object_add(session->session, "auth", auth);
        json_object_object_add(session->session, "relay", json_object_new_boolean(true));
    }
    return verdict;
}

static inline gp_test_verdict gp_test_mail_with(gp_test_session *session, const char *sender, const char *parameters) {
    gp_test_reset_transaction(session);
    session->in_transaction = true;
    session->transactions++;
    struct json_object *path = gp_test_path(sender, strlen(sender), parameters);
    gp_test_verdict verdict = gp_test_hook(session, "mail", gp_test_args("sender", json_object_get(path)));
    if (!gp_test_goes_on(verdict)) {
        gp_test_reset_transaction(session);
        json_object_put(path);
    } else if (session->sender) {
        json_object_object_add(session->sender, "params", json_object_get(gp_test_get(path, "params")));
        json_object_put(path);
    } else {
        session->sender = path;
    }
    return verdict;
}
static inline gp_test_verdict gp_test_mail(gp_test_session *session, const char *sender) { return gp_test_mail_with(session, sender, NULL); }

/* A recipient that no handler refuses is in the envelope, as with a later pool that accepts. */
static inline gp_test_verdict gp_test_rcpt(gp_test_session *session, const char *recipient) {
    struct json_object *path = gp_test_path(recipient, strlen(recipient), NULL);
    json_object_object_add(path, "id", json_object_new_int64(++session->last_recipient));
    json_object_put(session->candidate);
    session->candidate = path;
    return gp_test_hook(session, "rcpt", gp_test_args("recipient", gp_test_copy(path)));
}

static inline gp_test_verdict gp_test_data(gp_test_session *session) { return gp_test_hook(session, "data", NULL); }

/* The message arrives, lines with CRLF or LF: asks at the hooks up to queue_pre, until one refuses. */
static inline gp_test_verdict gp_test_message_octets(gp_test_session *session, const char *octets, size_t length) {
    static const char *const hooks[] = {"data_headers_end", "data_post_headers", "data_post", "queue_pre"};
    char *crlf = (char *)calloc(2, length + 1);
    size_t used = 0;
    if (!crlf) gp_test_stop("no memory is left");
    for (size_t index = 0; index < length; index++) {
        if (octets[index] == '\n' && (!index || octets[index - 1] != '\r')) crlf[used++] = '\r';
        crlf[used++] = octets[index];
    }
    gp_test_take(session, crlf, used);
    free(crlf);
    gp_test_verdict verdict = {.word = GP_DECLINED};
    for (size_t index = 0; index < sizeof hooks / sizeof hooks[0] && gp_test_goes_on(verdict); index++) {
        if (!gp_test_is_asked(session, hooks[index])) continue;
        verdict = gp_test_hook(session, hooks[index], NULL);
    }
    return verdict;
}
static inline gp_test_verdict gp_test_message(gp_test_session *session, const char *text) { return gp_test_message_octets(session, text, strlen(text)); }

static inline gp_test_verdict gp_test_queue(gp_test_session *session) { return gp_test_hook(session, "queue", gp_test_args("queue_id", json_object_new_string("T1.1"))); }
/* VRFY, HELP, NOOP: `hook` is the verb in lower case. */
static inline gp_test_verdict gp_test_command(gp_test_session *session, const char *hook, const char *argument) { return gp_test_hook(session, hook, gp_test_args("argument", gp_test_field(argument))); }
static inline gp_test_verdict gp_test_unrecognized_command(gp_test_session *session, const char *line) {
    struct json_object *args = gp_test_args("command", gp_field_of_bytes(line, strcspn(line, " ")));
    json_object_object_add(args, "line", gp_test_field(line));
    return gp_test_hook(session, "unrecognized_command", args);
}
static inline gp_test_verdict gp_test_quit(gp_test_session *session) { return gp_test_hook(session, "quit", NULL); }
/* The handlers are told: queue_post, reset_transaction, deny, ok, disconnect, status. Takes the reference of `args`. */
static inline void gp_test_notify(gp_test_session *session, const char *hook, struct json_object *args) { gp_test_ask(session, hook, args, true); }
static inline void gp_test_disconnect(gp_test_session *session, const char *reason) {
    gp_test_reset_transaction(session);
    struct json_object *args = gp_test_args("reason", json_object_new_string(reason));
    json_object_object_add(args, "duration_ms", json_object_new_int(1));
    gp_test_notify(session, "disconnect", args);
}

/* What handlers left. Octets are for free(), NULL if there is no such thing. */

static inline bool gp_test_relay(gp_test_session *session) { return json_object_get_boolean(gp_test_get(session->session, "relay")); }
static inline struct json_object *gp_test_notes(gp_test_session *session) { return session->notes; }
static inline struct json_object *gp_test_transaction_notes(gp_test_session *session) { return session->transaction_notes; }
static inline char *gp_test_sender(gp_test_session *session) {
    size_t length;
    return session->sender ? gp_test_octets(gp_test_get(session->sender, "address"), &length) : NULL;
}
static inline size_t gp_test_recipient_count(gp_test_session *session) { return json_object_array_length(session->recipients); }
static inline char *gp_test_recipient(gp_test_session *session, size_t index) {
    size_t length;
    struct json_object *found = index < gp_test_recipient_count(session) ? json_object_array_get_idx(session->recipients, index) : NULL;
    return found ? gp_test_octets(gp_test_get(found, "address"), &length) : NULL;
}
static inline size_t gp_test_header_count(gp_test_session *session) { return json_object_array_length(session->headers); }
/* The value of the first field of this name, without the white space before it. */
static inline char *gp_test_header(gp_test_session *session, const char *name) {
    struct json_object *wanted = gp_test_field(name);
    char *found = NULL;
    for (size_t index = 0; index < gp_test_header_count(session) && !found; index++) {
        struct json_object *field = json_object_array_get_idx(session->headers, index);
        size_t length;
        if (gp_test_compare(gp_test_get(field, "name"), wanted)) continue;
        found = gp_test_octets(gp_test_get(field, "value"), &length);
        size_t space = strspn(found, " \t");
        memmove(found, found + space, length - space + 1);
    }
    json_object_put(wanted);
    return found;
}
/* The message as it is now: the header fields, then the file from its body on. */
static inline char *gp_test_message_now(gp_test_session *session, size_t *length) {
    if (!session->message) return NULL;
    char *whole = NULL;
    FILE *out = open_memstream(&whole, length);
    if (!out) gp_test_stop("no memory is left");
    for (size_t index = 0; index < gp_test_header_count(session); index++) {
        struct json_object *field = json_object_array_get_idx(session->headers, index);
        const char *const parts[] = {"name", "space", "value"};
        for (int part = 0; part < 3; part++) {
            size_t count;
            char *octets = gp_test_get(field, parts[part]) ? gp_test_octets(gp_test_get(field, parts[part]), &count) : NULL;
            if (part == 2) fputc(':', out);
            if (octets) fwrite(octets, 1, count, out);
            free(octets);
        }
        fputs("\r\n", out);
    }
    size_t count;
    char *body = gp_test_file(gp_test_string(session->message, "path"), (size_t)json_object_get_int64(gp_test_get(session->message, "body_offset")), &count);
    if (body) fwrite(body, 1, count, out);
    free(body);
    fclose(out);
    return whole;
}

#endif
