/* The rules of a verdict against the golden transcripts, sessions, header values, control files, lines that are damaged.
   `test FOLDER`: the folder of golden transcripts. */
#define _GNU_SOURCE
#include "../gatepost_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>

typedef struct json_object json;

static int tests, failures;
static char heard[2048], logged[4096];

#define CHECK(condition) check_that(condition, #condition, __LINE__)
static void check_that(bool holds, const char *text, int line) {
    tests++;
    if (holds) return;
    failures++;
    fprintf(stderr, "test.c:%d: %s\n  heard: %s\n  logged: %s\n", line, text, heard, logged);
}

static void log_it(enum gp_level level, const char *text, void *context) {
    (void)level;
    (void)context;
    snprintf(logged, sizeof logged, "%s", text);
}

static void hear(const char *code, const char *message, void *context) {
    (void)context;
    snprintf(heard, sizeof heard, "%s: %s", code, message);
}

static bool is(char *found, const char *wanted) {
    bool holds = wanted ? found && !strcmp(found, wanted) : !found;
    if (!holds) fprintf(stderr, "  found %s, not %s\n", found ? found : "nothing", wanted ? wanted : "nothing");
    free(found);
    return holds;
}

static gp_worker *new_worker(void) { return gp_worker_new("test", &(gp_options){.log = log_it, .concurrency = 16}); }

static gp_test_session *new_session(gp_worker *worker) {
    gp_test_session *session = gp_test_new(worker);
    session->on_failure = hear;
    heard[0] = logged[0] = 0;
    return session;
}

/* gp_check against every verdict of the transcripts */

static void vectors(const char *folder, const char *name, int *looked) {
    char path[1024];
    size_t length;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = gp_test_file(path, 0, &length);
    json *events = json_object_new_object();
    for (char *at = text; at && at < text + length;) {
        char *end = memchr(at, '\n', (size_t)(text + length - at)), id[32];
        json *step = gp_parse(at, (size_t)(end - at), NULL), *line = gp_test_get(step, "line"), *raw = gp_test_get(step, "raw"), *made = NULL;
        if (raw) { /* exactly these octets */
            size_t octets;
            char *whole = gp_test_octets(raw, &octets);
            const char *fill = gp_test_string(step, "fill"), *tail = gp_test_string(step, "tail");
            if (fill) {
                size_t total = (size_t)json_object_get_int64(gp_test_get(step, "total")), after = strlen(tail);
                whole = realloc(whole, total + 1);
                memset(whole + octets, fill[0], total - octets - after);
                memcpy(whole + total - after, tail, after);
                octets = total;
            }
            line = made = octets ? gp_parse(whole, octets - 1, NULL) : NULL;
            free(whole);
        }
        snprintf(id, sizeof id, "%lld", (long long)json_object_get_int64(gp_test_get(line, "id")));
        const char *expect = gp_test_string(step, "expect"), *violation = gp_test_string(step, "violation");
        if (gp_test_is(line, "type", "event")) json_object_object_add(events, id, json_object_get(line));
        bool is_taken = !expect || !strcmp(expect, "invalid_verdict");
        bool is_excepted = violation && (!strcmp(violation, "file_refused") || !strcmp(violation, "too_many_recipients") || !strcmp(violation, "error_malformed"));
        if (gp_test_is(line, "type", "verdict") && gp_test_get(events, id) && is_taken && !is_excepted) {
            char message[512];
            const char *found = gp_check(gp_test_get(events, id), line, message, sizeof message);
            bool holds = violation ? found && !strcmp(found, violation) : !found;
            if (!holds) fprintf(stderr, "%s: %s, not %s: %s\n  %.400s\n", name, found ? found : "valid", violation ? violation : "valid", message, json_object_to_json_string(line));
            CHECK(holds);
            if (found) CHECK(strlen(message) > 5 && strlen(message) < 400);
            ++*looked;
        }
        json_object_put(made);
        json_object_put(step);
        at = end + 1;
    }
    free(text);
    json_object_put(events);
}

static void test_check(const char *folder) {
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort), looked = 0;
    for (int index = 0; index < count; index++) {
        if (strstr(names[index]->d_name, ".ndjson")) vectors(folder, names[index]->d_name, &looked);
        free(names[index]);
    }
    free(names);
    CHECK(looked > 200);
    char message[200];
    json *event = gp_test_parse("{\"hook\":\"data_post\",\"args\":{},\"notes\":{},\"transaction\":{\"headers\":[],\"sender\":null}}");
    json *verdict = gp_test_parse("{\"verdict\":\"declined\",\"actions\":[{\"op\":\"header.add\",\"name\":\"X-A\",\"value\":\"a\\nb\"}]}");
    const char *found = gp_check(event, verdict, message, sizeof message);
    CHECK(found && !strcmp(found, "header_value") && !strcmp(message, "actions[0].value: \"a\\nb\": a bare LF"));
    json_object_put(verdict);
    json_object_put(event);
}

/* Lines */

static void test_lines(const char *folder) {
    static const struct {
        const char *line;
        bool is_good;
    } rows[] = {
        {"{}", true}, {" {\"a\" : [1, -0, 1.5e3, true, null] } \r", true}, {"{\"a\":{\"a\":1}}", true}, {"{\"a\":1,\"a\":2}", false},
        {"{\"a\":1,\"\\u0061\":2}", false}, {"{\"a\":9007199254740991}", true}, {"{\"a\":9007199254740992}", false},
        {"{\"a\":-9007199254740993}", false}, {"{\"a\":1e999}", false}, {"{\"a\":01}", false}, {"{\"a\":1.}", false}, {"{\"a\":.5}", false},
        {"{\"a\":+1}", false}, {"{\"a\":NaN}", false}, {"{\"a\":Infinity}", false}, {"{'a':1}", false}, {"{\"a\":1,}", false},
        {"{\"a\":1}x", false}, {"{\"a\":1}{}", false}, {"[1]", false}, {"null", false}, {"", false}, {"{\"a\":\"\\ud800\"}", false},
        {"{\"a\":\"\\ud83d\\ude00\"}", true}, {"{\"a\":\"\\udc00\\ud800\"}", false}, {"{\"\\u0000\":1}", false}, {"{\"a\":\"\\u0000\"}", true},
        {"{\"a\":\"\t\"}", false}, {"{\"a\":\"\xc3\xa9\"}", true}, {"{\"a\":\"\xc0\xaf\"}", false}, {"{\"a\":\"\xed\xa0\x80\"}", false},
        {"{\"a\":\"\xf4\x90\x80\x80\"}", false}, {"\xef\xbb\xbf{}", false}, {"{\"a\":1/**/}", false}, {"{\"a\":\"\\x\"}", false}, {"{\"a\":tru}", false},
    };
    for (size_t index = 0; index < sizeof rows / sizeof rows[0]; index++) {
        size_t length = strlen(rows[index].line);
        char *copy = malloc(length ? length : 1); /* no NUL follows: reading beyond it is found */
        memcpy(copy, rows[index].line, length);
        const char *why = NULL;
        json *value = gp_parse(copy, length, &why);
        if ((value != NULL) != rows[index].is_good) fprintf(stderr, "  %s: %s\n", rows[index].line, why ? why : "taken");
        CHECK((value != NULL) == rows[index].is_good && (value != NULL) != (why != NULL));
        json_object_put(value);
        free(copy);
    }
    /* Random damage: whatever comes, a line is taken or refused, and the connection says so once. */
    char path[1024], line[65536];
    size_t length;
    snprintf(path, sizeof path, "%s/invalid-header-value.ndjson", folder);
    char *text = gp_test_file(path, 0, &length);
    CHECK(text != NULL);
    gp_worker *worker = new_worker();
    uint32_t random = 4711;
    for (int round = 0; text && round < 3000; round++) {
        size_t size = length < 6000 ? length : 6000;
        memcpy(line, text, size);
        for (int damage = 0; damage < 3; damage++) {
            random = random * 1664525u + 1013904223u;
            line[(random >> 8) % size] = (char)(random >> 24);
        }
        gp_connection *connection = gp_connection_new(worker);
        gp_connection_feed(connection, line, size);
        size_t taken;
        free(gp_connection_take(connection, &taken));
        CHECK(taken > 0);
        gp_connection_free(connection);
    }
    free(text);
    gp_worker_free(worker);
    static const struct {
        const char *octets;
        size_t length;
    } fields[] = {{"", 0}, {"a", 1}, {"\0", 1}, {"\xff\xfe", 2}, {"\xff\xfe\xfd", 3}, {"\xff\xfe\xfd\xfc", 4}, {"\xc3\xa9", 2}};
    for (size_t index = 0; index < sizeof fields / sizeof fields[0]; index++) {
        json *field = gp_field_of_bytes(fields[index].octets, fields[index].length);
        char *octets = gp_bytes_of_field(field, &length);
        CHECK(octets && length == fields[index].length && !memcmp(octets, fields[index].octets, length));
        free(octets);
        json_object_put(field);
    }
    static const char *const wrong[] = {"{\"b64\":\"AB==\"}", "{\"b64\":\"A\"}", "{\"b64\":\"A===\"}", "{\"b64\":\"AAA=AAAA\"}", "{\"b64\":\"AA\\nA\"}", "{\"b64\":1}", "{}", "{\"b64\":\"\",\"x\":1}"};
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) {
        json *field = gp_test_parse(wrong[index]);
        CHECK(gp_bytes_of_field(field, &length) == NULL);
        json_object_put(field);
    }
}

/* Header values */

static size_t longest_line(const char *value) {
    size_t longest = 0;
    for (const char *at = value;;) {
        const char *end = strstr(at, "\r\n");
        size_t length = end ? (size_t)(end - at) : strlen(at);
        if (length > longest) longest = length;
        if (!end) return longest;
        at = end + 2;
    }
}

static void test_header(void) {
    CHECK(is(gp_legal_value("caf\xc3\xa9", 1, false), "=?UTF-8?Q?caf=C3=A9?="));
    CHECK(is(gp_legal_value("caf\xc3\xa9", 1, true), "caf\xc3\xa9"));
    CHECK(is(gp_legal_value("a \xc3\xa9 \xc3\xa9 b", 1, false), "a =?UTF-8?Q?=C3=A9_=C3=A9?= b"));
    CHECK(is(gp_legal_value("\xff", 1, false), "=?unknown-8bit?Q?=FF?="));
    CHECK(is(gp_legal_value("a\nb\r\n c", 1, false), "ab\r\n c"));
    CHECK(is(gp_legal_value("a\r\n \r\n b", 1, false), "a\r\n b"));
    CHECK(is(gp_legal_value("", 1, false), ""));
    char *text = calloc(1, 6001);
    for (int index = 0; index < 3000; index++) text[index] = index % 7 ? 'x' : ' ';
    memset(text + 3000, 'y', 3000);
    char *legal = gp_legal_value(text, 10, false);
    CHECK(longest_line(legal) <= 998 && strlen(legal) > 6000);
    free(legal);
    memset(text, '\xe9', 6000);
    legal = gp_legal_value(text, 10, false);
    CHECK(longest_line(legal) <= 76);
    free(legal);
    free(text);
}

/* Sessions */

static gp_verdict has_left(gp_event *event, void *context) {
    (void)context;
    if (!strcasecmp(gp_recipient(event).address.data, "eve@example.com")) return gp_deny(event, 550, "5.1.6", "%s has left", "eve");
    return GP_DECLINED;
}

static gp_verdict count(gp_event *event, void *context) {
    (void)context;
    json *notes = gp_session_notes(event);
    json_object_object_add(notes, "asked", json_object_new_int(json_object_get_int(gp_test_get(notes, "asked")) + 1));
    json_object_object_del(notes, "old");
    json_object_object_add(gp_transaction_notes(event), "list", json_object_new_array());
    return GP_DECLINED;
}

static gp_verdict replace(gp_event *event, void *context) {
    (void)context;
    if (!strcmp(gp_recipient(event).local.data, "old")) gp_replace_recipient(event, gp_recipient(event).id, "new@example.com");
    gp_replace_sender(event, "other@example.net");
    gp_set_relay(event, true);
    gp_delay_reply(event, 7);
    return GP_OK;
}

static void test_session(void) {
    gp_worker *worker = new_worker();
    gp_hook(worker, "rcpt", has_left, NULL, 0);
    gp_hook(worker, "rcpt", count, NULL, 0);
    gp_hook(worker, "rcpt", replace, NULL, 0);
    gp_test_session *session = new_session(worker);
    CHECK(gp_test_connect(session).word == GP_DECLINED);
    gp_test_ehlo(session, "client.example.net");
    gp_test_mail(session, "bob@example.net");
    json_object_object_add(session->notes, "old", json_object_new_int(1));
    gp_test_verdict verdict = gp_test_rcpt(session, "EVE@example.com");
    CHECK(verdict.word == GP_DENY && verdict.code == 550 && !strcmp(verdict.status, "5.1.6") && !strcmp(verdict.text, "eve has left"));
    CHECK(gp_test_recipient_count(session) == 0 && is(gp_test_sender(session), "bob@example.net"));
    CHECK(gp_test_rcpt(session, "old@example.com").word == GP_OK);
    CHECK(gp_test_rcpt(session, "new@EXAMPLE.com").word == GP_OK);
    CHECK(gp_test_recipient_count(session) == 1 && is(gp_test_recipient(session, 0), "new@example.com"));
    CHECK(is(gp_test_sender(session), "other@example.net") && gp_test_relay(session) && session->delay_ms == 7);
    CHECK(json_object_get_int(gp_test_get(gp_test_notes(session), "asked")) == 2 && !gp_test_get(gp_test_notes(session), "old"));
    CHECK(gp_test_get(gp_test_transaction_notes(session), "list") != NULL);
    CHECK(json_object_array_length(session->trace) == 7);
    gp_test_disconnect(session, "quit");
    CHECK(!heard[0]);
    gp_test_free(session);
    gp_worker_free(worker);
}

static char seen[4096];

static gp_verdict stream(gp_event *event, void *context) {
    (void)context;
    FILE *file = gp_open_message(event);
    size_t length = file ? fread(seen, 1, sizeof seen - 1, file) : 0;
    seen[length] = 0;
    if (file) fclose(file);
    return GP_DECLINED;
}

static gp_verdict edit(gp_event *event, void *context) {
    (void)context;
    const gp_header *list;
    int found = gp_headers(event, &list);
    for (int index = 0; index < found; index++)
        if (!strcasecmp(list[index].name.data, "Old")) gp_delete_header(event, list[index].id);
        else if (!strcasecmp(list[index].name.data, "Set")) gp_set_header(event, list[index].id, "caf\xc3\xa9");
    gp_add_header_bottom(event, "Last", "1");
    gp_add_header(event, "First", "1");
    gp_bytes value = gp_header_value(event, "set");
    return value.data && !strcmp(value.data, "x") ? GP_DECLINED : gp_fail(event, "the value is %s", value.data ? value.data : "not there");
}

static gp_verdict rewrite(gp_event *event, void *context) {
    (void)context;
    edit(event, NULL);
    const char *path = gp_new_message_path(event);
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (!file) return gp_fail(event, "no file");
    fputs("Old: x\r\nNew: y\r\nSet: z\r\n\r\nother\r\n", file);
    fclose(file);
    gp_replace_message(event, path);
    return GP_DECLINED;
}

static void test_message(void) {
    gp_worker *worker = new_worker();
    gp_hook(worker, "data_post", stream, NULL, GP_NEED_HEADERS | GP_NEED_MESSAGE);
    gp_hook(worker, "data_post", edit, NULL, GP_NEED_HEADERS);
    gp_test_session *session = new_session(worker);
    gp_test_mail(session, "bob@example.net");
    gp_test_rcpt(session, "a@example.org");
    CHECK(gp_test_message(session, "Old: 1\nSet: x\nKept : 2\n  folded\n\nbody\n").word == GP_DECLINED);
    CHECK(!strcmp(seen, "Old: 1\r\nSet: x\r\nKept : 2\r\n  folded\r\n\r\nbody\r\n"));
    size_t length;
    CHECK(is(gp_test_message_now(session, &length), "First: 1\r\nSet: =?UTF-8?Q?caf=C3=A9?=\r\nKept : 2\r\n  folded\r\nLast: 1\r\n\r\nbody\r\n"));
    CHECK(is(gp_test_header(session, "first"), "1") && is(gp_test_header(session, "Old"), NULL) && !heard[0]);
    gp_test_free(session);
    gp_worker_free(worker);
    worker = new_worker();
    gp_hook(worker, "data_post", rewrite, NULL, GP_NEED_HEADERS | GP_NEED_MESSAGE);
    session = new_session(worker);
    gp_test_mail(session, "bob@example.net");
    CHECK(gp_test_message(session, "Old: 1\nSet: x\n\nbody\n").word == GP_DECLINED && !heard[0]);
    CHECK(is(gp_test_message_now(session, &length), "First: 1\r\nSet: =?UTF-8?Q?caf=C3=A9?=\r\nNew: y\r\nLast: 1\r\n\r\nother\r\n"));
    gp_test_free(session);
    gp_worker_free(worker);
}

/* Mistakes of authors: each is one answer, and says what is wrong */

static gp_verdict not_ascii(gp_event *event, void *context) { return (void)context, gp_deny(event, 550, "5.1.1", "\xc3\xa9"); }
static gp_verdict not_utf8(gp_event *event, void *context) { return (void)context, gp_deny(event, 550, NULL, "\xff"); }
static gp_verdict wrong_code(gp_event *event, void *context) { return (void)context, gp_deny(event, 450, NULL, NULL); }
static gp_verdict wrong_word(gp_event *event, void *context) { return (void)event, (void)context, (gp_verdict)99; }
static gp_verdict no_reply(gp_event *event, void *context) { return (void)event, (void)context, GP_DONE; }
static gp_verdict reply_unused(gp_event *event, void *context) { return (void)context, (void)gp_deny(event, 550, NULL, "x"), GP_DECLINED; }
static gp_verdict fails(gp_event *event, void *context) { return (void)context, gp_fail(event, "the database is %s", "locked"); }
static gp_verdict not_needed(gp_event *event, void *context) {
    const gp_address *list;
    (void)context;
    for (int index = 0, found = gp_recipients(event, &list); index < found; index++) continue;
    return GP_OK;
}
static gp_verdict no_such_recipient(gp_event *event, void *context) { return (void)context, gp_remove_recipient(event, 99), GP_OK; }
static double zero;
static gp_verdict nan_note(gp_event *event, void *context) {
    (void)context;
    json_object_object_add(gp_session_notes(event), "x", json_object_new_double(zero / zero));
    return GP_OK;
}
static gp_verdict early(gp_event *event, void *context) {
    (void)context;
    gp_answer(event, GP_OK);
    return GP_LATER;
}

static void test_mistakes(void) {
    static const struct {
        gp_handler handler;
        const char *name, *wanted;
        unsigned flags;
    } rows[] = {
        {not_ascii, "not_ascii", "invalid_verdict: not_ascii at rcpt: reply_text: reply.text[0]: \"\xc3\xa9\": not ASCII, and the session has no SMTPUTF8", 0},
        {not_utf8, "not_utf8", "invalid_verdict: not_utf8 at rcpt: reply_text: reply.text[0]: octets: not UTF-8", 0},
        {wrong_code, "wrong_code", "invalid_verdict: wrong_code at rcpt: reply_code: reply.code: 450: not for deny at rcpt", 0},
        {wrong_word, "wrong_word", "invalid_verdict: wrong_word at rcpt: unknown_verdict: 99 is none", 0},
        {no_reply, "no_reply", "invalid_verdict: no_reply at rcpt: verdict_not_allowed: ", 0},
        {reply_unused, "reply_unused", "invalid_verdict: reply_unused at rcpt: reply_not_allowed: ", 0},
        {fails, "fails", "exception: the database is locked", 0},
        {not_needed, "not_needed", "exception: recipients is not in the event", 0},
        {no_such_recipient, "no_such_recipient", "invalid_verdict: no_such_recipient at rcpt: unknown_recipient: actions[0].id: 99: ", GP_NEED_RECIPIENTS},
        {nan_note, "nan_note", "invalid_verdict: nan_note at rcpt: ", 0},
        {early, "early", "", 0},
    };
    for (size_t index = 0; index < sizeof rows / sizeof rows[0]; index++) {
        gp_worker *worker = new_worker();
        gp_hook_as(worker, "rcpt", rows[index].name, rows[index].handler, NULL, rows[index].flags);
        gp_test_session *session = new_session(worker);
        gp_test_mail(session, "bob@example.net");
        gp_test_verdict verdict = gp_test_rcpt(session, "a@example.org");
        CHECK(!strncmp(heard, rows[index].wanted, strlen(rows[index].wanted)) && (rows[index].wanted[0] || !heard[0]));
        CHECK((verdict.word == GP_FAIL) == (rows[index].wanted[0] != 0) && gp_connection_outstanding(session->connection) == 0);
        CHECK((logged[0] != 0) == (rows[index].wanted[0] != 0));
        gp_test_free(session);
        gp_worker_free(worker);
    }
    gp_worker *worker = new_worker();
    CHECK(gp_hook(worker, "rctp", has_left, NULL, 0) < 0 && strstr(logged, "rctp"));
    CHECK(gp_hook(worker, "rcpt", has_left, NULL, GP_FUTURERELEASE) < 0);
    CHECK(gp_hook(worker, "rcpt", has_left, NULL, 0) == 0 && gp_hook(worker, "rcpt", has_left, NULL, GP_OBSERVE) < 0);
    CHECK(gp_worker_run(worker) == 1);
    gp_worker_free(worker);
    CHECK(!gp_worker_new("a b", &(gp_options){.log = log_it}) && !gp_worker_new("a", &(gp_options){.log = log_it, .pool = "-"}));
    gp_test_session *session;
    worker = new_worker();
    gp_hook(worker, "rcpt", has_left, NULL, 0);
    session = new_session(worker);
    static const char violation[] = "{\"type\":\"violation\",\"id\":1,\"hook\":\"rcpt\",\"plugin\":\"x\",\"violation\":\"reply_text\",\"message\":\"reply.text[0]: no\"}\n";
    gp_connection_feed(session->connection, violation, strlen(violation));
    CHECK(!strcmp(logged, "the frontend did not take the answer to event 1: x at rcpt: reply_text: reply.text[0]: no"));
    size_t length;
    CHECK(!gp_connection_take(session->connection, &length));
    gp_test_free(session);
    gp_worker_free(worker);
}

/* Answers that come later */

static gp_event *kept[4];
static int keeps, cancels;

static gp_verdict keep(gp_event *event, void *context) {
    (void)context;
    kept[keeps++ % 4] = event;
    return GP_LATER;
}

static void note_cancel(gp_event *event, void *context) {
    (void)context;
    cancels++;
    gp_answer(event, GP_OK);
}

static gp_verdict keep_until_cancel(gp_event *event, void *context) {
    gp_on_cancel(event, note_cancel, NULL);
    return keep(event, context);
}

static void test_later(void) {
    gp_worker *worker = new_worker();
    gp_hook(worker, "rcpt", keep, NULL, 0);
    gp_hook(worker, "rcpt", has_left, NULL, 0);
    gp_hook(worker, "mail", keep_until_cancel, NULL, 0);
    gp_hook(worker, "disconnect", keep, NULL, 0);
    gp_test_session *session = new_session(worker);
    session->in_transaction = true;
    CHECK(gp_test_rcpt(session, "eve@example.com").word == GP_LATER && gp_connection_outstanding(session->connection) == 1);
    gp_answer(kept[0], GP_DECLINED);
    CHECK(gp_test_answer(session).word == GP_DENY && gp_connection_outstanding(session->connection) == 0);
    CHECK(gp_test_rcpt(session, "a@example.com").word == GP_LATER);
    char cancel[64];
    snprintf(cancel, sizeof cancel, "{\"type\":\"cancel\",\"id\":%lld,\"reason\":\"client_gone\"}\n", (long long)session->events);
    gp_connection_feed(session->connection, cancel, strlen(cancel));
    CHECK(gp_cancelled(kept[1]) && !strcmp(gp_cancel_reason(kept[1]), "client_gone"));
    CHECK(gp_test_answer(session).word == GP_FAIL && !strncmp(heard, "cancelled", 9));
    gp_answer(kept[1], GP_OK); /* dropped; the event is gone */
    CHECK(gp_test_mail(session, "x@example.net").word == GP_LATER);
    gp_connection_lost(session->connection);
    CHECK(cancels == 1 && gp_connection_outstanding(session->connection) == 0);
    gp_test_free(session);
    session = new_session(worker);
    session->deadline_ms = 0;
    session->in_transaction = true;
    keeps = 0;
    CHECK(gp_test_rcpt(session, "a@example.com").word == GP_FAIL && strstr(heard, "deadline: rcpt took longer than its deadline"));
    gp_answer(kept[0], GP_OK);
    keeps = 0;
    gp_test_disconnect(session, "quit");
    gp_answer(kept[0], GP_OK);
    size_t length;
    CHECK(keeps == 1 && !gp_connection_take(session->connection, &length));
    gp_test_free(session);
    gp_worker_free(worker);
}

/* Control files */

static void put_file(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) gp_test_stop("a control file cannot be written");
}

static bool lines_are(gp_control *control, const char *wanted) {
    size_t found;
    const char *const *lines = gp_control_lines(control, &found);
    char text[1024] = "";
    for (size_t index = 0; index < found; index++) {
        strncat(text, lines[index], sizeof text - strlen(text) - 1);
        strncat(text, "|", sizeof text - strlen(text) - 1);
    }
    if (strcmp(text, wanted)) fprintf(stderr, "  found %s\n", text);
    return !strcmp(text, wanted);
}

static void test_control(void) {
    char folder[] = "/tmp/gatepost-control-XXXXXX", command[128], path[128];
    if (!mkdtemp(folder)) gp_test_stop("no folder");
    gp_control *control = gp_control_open("left", folder);
    CHECK(lines_are(control, "") && !gp_control_is_present(control) && !gp_control_first(control));
    put_file(folder, "more", "three\n");
    put_file(folder, "left", "\xef\xbb\xbf# who\n\n  One two \r\n$include more\n");
    CHECK(lines_are(control, "One two|three|") && gp_control_is_present(control) && !strcmp(gp_control_first(control), "One two"));
    CHECK(gp_control_has(control, "one") && !gp_control_has(control, "two"));
    put_file(folder, "more", "three\nfour\n");
    CHECK(lines_are(control, "One two|three|four|"));
    put_file(folder, "left", "$include ../x\nnew\n");
    CHECK(lines_are(control, "One two|three|four|") && strstr(gp_control_error(control), "left:1: $include ../x"));
    put_file(folder, "left", "$include left\n");
    CHECK(lines_are(control, "One two|three|four|") && strstr(gp_control_error(control), "includes itself"));
    put_file(folder, "left", "\xff\n");
    CHECK(lines_are(control, "One two|three|four|") && strstr(gp_control_error(control), "left:1: this line is not UTF-8"));
    snprintf(path, sizeof path, "%s/many", folder);
    if (mkdir(path, 0700) != 0) gp_test_stop("no folder");
    put_file(path, "b", "2\n");
    put_file(path, "a", "1");
    put_file(folder, "left", "$include\tmany\nlast");
    CHECK(lines_are(control, "1|2|last|") && !gp_control_error(control));
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK(system(command) == 0);
    CHECK(lines_are(control, "") && !gp_control_is_present(control));
    gp_control_free(control);
}

/* Timers and descriptors of the author's own */

static int pipes[2], fired, readable;
static void fire(void *worker) {
    fired++;
    if (write(pipes[1], "x", 1) != 1) gp_worker_stop(worker);
}
static void read_one(int fd, short revents, void *worker) {
    char octet;
    (void)revents;
    readable += read(fd, &octet, 1) == 1;
    gp_unwatch(worker, fd);
    gp_worker_stop(worker);
}

static void test_loop(void) {
    gp_worker *worker = gp_worker_new("test", &(gp_options){.log = log_it, .runtime_directory = "/nonexistent"});
    if (pipe(pipes) != 0) gp_test_stop("no pipe");
    gp_watch(worker, pipes[0], POLLIN, read_one, worker);
    gp_after(worker, 1, fire, worker);
    while (gp_worker_step(worker, -1)) continue;
    CHECK(fired == 1 && readable == 1);
    close(pipes[0]);
    close(pipes[1]);
    gp_worker_free(worker);
}

int main(int arguments, char **words) {
    if (arguments != 2) gp_test_stop("test FOLDER");
    test_check(words[1]);
    test_lines(words[1]);
    test_header();
    test_session();
    test_message();
    test_mistakes();
    test_later();
    test_control();
    test_loop();
    printf("test: %d checks, %d failed\n", tests, failures);
    return failures > 0;
}
