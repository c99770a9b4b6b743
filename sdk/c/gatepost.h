/* gatepost.h: policy workers for the Gatepost SMTP server in C11. Needs json-c; README.md explains it. */
#ifndef GATEPOST_H
#define GATEPOST_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GP_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define GP_PRINTF(text, first)
#endif

typedef struct gp_worker gp_worker;
typedef struct gp_connection gp_connection;
typedef struct gp_event gp_event;
typedef struct gp_control gp_control;

/* What a handler returns. The first seven are the protocol's verdicts, in their order. */
typedef enum {
    GP_DECLINED,
    GP_OK,
    GP_DENY,
    GP_DENYSOFT,
    GP_DENY_DISCONNECT,
    GP_DENYSOFT_DISCONNECT,
    GP_DONE,
    GP_FAIL,  /* no verdict: the frontend gets `error` with the code `exception` */
    GP_LATER, /* the answer comes by gp_answer */
} gp_verdict;

typedef gp_verdict (*gp_handler)(gp_event *event, void *context);

/* Octets: not text, for SMTP is none. A NUL follows them that is not counted. `data` is NULL if the thing does not exist. */
typedef struct {
    const char *data;
    size_t length;
} gp_bytes;

/* A reverse-path or forward-path; `id` is 0 for a reverse-path, `domain.data` is NULL for <> and <postmaster>. */
typedef struct {
    int64_t id;
    gp_bytes address, local, domain;
    struct json_object *params;
} gp_address;

/* A header field: `value` has leading space and folding as they came, `space` stands before the colon. */
typedef struct {
    int64_t id;
    gp_bytes name, space, value;
} gp_header;

enum gp_level { GP_INFO, GP_WARNING, GP_ERROR };

/* Members that are 0 or NULL have their defaults. */
typedef struct {
    const char *pool;                    /* "policy" */
    const char *runtime_directory;       /* GATEPOST_RUNTIME_DIRECTORY, else "var/run" */
    int concurrency;                     /* 1; events at once from each frontend. -1: none, for a worker that only observes */
    size_t max_frame;                    /* 1,048,576; the longest line that is read, octets */
    const char *version, *instance;      /* for the frontend's logs and figures */
    int look_every_ms, drain_timeout_ms; /* 1,000 and 60,000 */
    void (*log)(enum gp_level level, const char *text, void *context); /* to standard error */
    void *log_context;
} gp_options;

/* What a handler needs and does. */
enum {
    GP_NEED_RECIPIENTS = 1,
    GP_NEED_HEADERS = 2,
    GP_NEED_MESSAGE = 4,
    GP_NEED_TRACE = 8,
    GP_OBSERVE = 16,        /* only be told: what the handler returns is not sent */
    GP_IDEMPOTENT = 32,     /* at queue and auth: a second attempt does no harm */
    GP_FUTURERELEASE = 64,  /* at queue: the handler keeps this extension (RFC 4865) */
    GP_MT_PRIORITY = 128,   /* the same (RFC 6710) */
};

/* Workers */

/* A worker named [A-Za-z0-9._-]{1,64}; NULL, after a line in the log, if the name or an option is wrong. */
gp_worker *gp_worker_new(const char *name, const gp_options *options);
void gp_worker_free(gp_worker *worker);

/* Registers a handler of a hook; the plugin is named as the function is. -1, after a line in the log, if it cannot be:
   gp_worker_run does not start then. */
#define gp_hook(worker, hook, function, context, flags) gp_hook_as(worker, hook, #function, function, context, flags)
int gp_hook_as(gp_worker *worker, const char *hook, const char *plugin, gp_handler handler, void *context, unsigned flags);

/* Serves every frontend of the pool until SIGTERM or SIGINT, then drains. The program's exit code. */
int gp_worker_run(gp_worker *worker);
/* One turn of the loop, at most so many milliseconds (-1: as long as it takes). False once stopped and drained. */
bool gp_worker_step(gp_worker *worker, int timeout_ms);
void gp_worker_stop(gp_worker *worker);
/* Calls the function when poll(2) says `events` of the descriptor; and once, in so many milliseconds. -1: no memory is left. */
int gp_watch(gp_worker *worker, int fd, short events, void (*function)(int fd, short revents, void *context), void *context);
void gp_unwatch(gp_worker *worker, int fd);
int gp_after(gp_worker *worker, int64_t ms, void (*function)(void *context), void *context);

/* Answers: return what these return. `code` 0, `status` NULL and `format` NULL leave it to the frontend. */

gp_verdict gp_deny(gp_event *event, int code, const char *status, const char *format, ...) GP_PRINTF(4, 5);
gp_verdict gp_denysoft(gp_event *event, int code, const char *status, const char *format, ...) GP_PRINTF(4, 5);
gp_verdict gp_done(gp_event *event, int code, const char *status, const char *format, ...) GP_PRINTF(4, 5);
/* The reply of any verdict; and one further line of it. */
void gp_reply(gp_event *event, int code, const char *status, const char *format, ...) GP_PRINTF(4, 5);
void gp_reply_line(gp_event *event, const char *format, ...) GP_PRINTF(2, 3);
/* There is no verdict, and why: GP_FAIL. */
gp_verdict gp_fail(gp_event *event, const char *format, ...) GP_PRINTF(2, 3);
/* At auth: the client is sent a challenge; its answer comes with `state`. GP_DONE. */
gp_verdict gp_challenge(gp_event *event, gp_bytes challenge, gp_bytes state);
/* Answers an event whose handler returned GP_LATER: once for each, also after gp_on_cancel. The event is gone then. */
void gp_answer(gp_event *event, gp_verdict verdict);
/* Calls the function once if nobody waits for the answer any more. */
void gp_on_cancel(gp_event *event, void (*function)(gp_event *event, void *context), void *context);

/* Questions. What these return lives as long as the event. */

const char *gp_event_hook(const gp_event *event);
const char *gp_event_key(const gp_event *event);
int64_t gp_event_id(const gp_event *event); /* 0 for a notification */
struct json_object *gp_event_raw(const gp_event *event);
/* A part of the event by its path ("session.client.ip", "args.recipient"); NULL if there is none, or JSON's null. */
struct json_object *gp_get(const gp_event *event, const char *path);
gp_bytes gp_get_bytes(gp_event *event, const char *path);
int64_t gp_get_integer(const gp_event *event, const char *path, int64_t otherwise);
bool gp_get_boolean(const gp_event *event, const char *path);
/* args of what was asked, `name` for one; at deny and ok those of the hook that ended. */
gp_bytes gp_argument(gp_event *event, const char *name);

const char *gp_client_ip(gp_event *event);
gp_address gp_sender(gp_event *event);    /* at mail the one that is asked for, later the transaction's */
gp_address gp_recipient(gp_event *event); /* at rcpt, and at deny and ok after it */
/* How many there are, and the list. -1 if the part was not needed or did not fit (`elided`): the event fails then,
   whatever the handler returns, for a part of a list is not the list. gp_has asks first: "recipients", "headers", "message". */
int gp_recipients(gp_event *event, const gp_address **list);
int gp_headers(gp_event *event, const gp_header **list);
bool gp_has(const gp_event *event, const char *need);
/* The value of the first field of this name without white space around it; data NULL if there is none. */
gp_bytes gp_header_value(gp_event *event, const char *name);
/* The spool file as it came; NULL as above. */
const char *gp_message_path(gp_event *event);
/* The message as it is now (needs headers and message), and its body alone, for fclose. NULL: as above, or errno. */
FILE *gp_open_message(gp_event *event);
FILE *gp_open_body(gp_event *event);

int64_t gp_remaining_ms(const gp_event *event); /* INT64_MAX for a notification */
void gp_progress(gp_event *event, int64_t extend_ms);
bool gp_cancelled(const gp_event *event);
const char *gp_cancel_reason(const gp_event *event);
gp_verdict gp_verdict_of_word(const char *word); /* GP_FAIL if it is none */
const char *gp_word_of_verdict(gp_verdict verdict);

/* Notes: JSON objects to be changed at will; the changes go with the verdict. NULL if there is no transaction. */

struct json_object *gp_session_notes(gp_event *event);
struct json_object *gp_transaction_notes(gp_event *event);
/* A merge patch (RFC 7396) of "session" or "transaction" as it is sent, beside these changes; takes the reference. */
void gp_patch_notes(gp_event *event, const char *scope, struct json_object *patch);

/* Actions (protocol/verdicts.md). A header value is folded and encoded where the message needs it. */

void gp_add_header(gp_event *event, const char *name, const char *value);        /* above all others */
void gp_add_header_bottom(gp_event *event, const char *name, const char *value);
void gp_set_header(gp_event *event, int64_t id, const char *value);
void gp_delete_header(gp_event *event, int64_t id);
void gp_delete_headers(gp_event *event, const char *name);
void gp_add_recipient(gp_event *event, const char *address);
void gp_remove_recipient(gp_event *event, int64_t id);
void gp_replace_recipient(gp_event *event, int64_t id, const char *address);
/* At data_post and queue; `verdict` is GP_DENY or GP_DENYSOFT, the reply as in gp_deny. */
void gp_refuse_recipient(gp_event *event, int64_t id, gp_verdict verdict, int code, const char *status, const char *format, ...)
    GP_PRINTF(6, 7);
void gp_replace_sender(gp_event *event, const char *address);
const char *gp_new_message_path(gp_event *event); /* for a file of this event alone; NULL if there is no folder */
void gp_replace_message(gp_event *event, const char *path);
void gp_set_relay(gp_event *event, bool value);
void gp_set_client_name(gp_event *event, const char *name);
void gp_delay_reply(gp_event *event, int64_t ms);
void gp_action(gp_event *event, struct json_object *action); /* any; takes the reference */

/* Pure functions */

/* The rule that a verdict breaks as an answer to an event, and in `message` where and how; NULL if it breaks none. */
const char *gp_check(struct json_object *event, struct json_object *verdict, char *message, size_t size);
/* The message on a line without its LF, by the strict rules of protocol/README.md §1; NULL if it is none, and why. */
struct json_object *gp_parse(const char *line, size_t length, const char **why);
/* A JSON field of type Bytes, made and read; the octets are for free(). NULL if it is none. */
struct json_object *gp_field_of_bytes(const char *octets, size_t length);
char *gp_bytes_of_field(struct json_object *field, size_t *length);
/* A value that may follow the colon of a field (RFC 5322 §2.1.1, RFC 2047); for free(). */
char *gp_legal_value(const char *value, size_t name_octets, bool allows_8bit);

/* The protocol without a socket: octets in, handlers run, octets out. */

gp_connection *gp_connection_new(gp_worker *worker); /* its hello waits to be taken */
void gp_connection_free(gp_connection *connection);
void gp_connection_feed(gp_connection *connection, const char *octets, size_t length);
/* The octets to write, for free(); NULL if there are none. */
char *gp_connection_take(gp_connection *connection, size_t *length);
bool gp_connection_closed(const gp_connection *connection); /* write what is left, then close */
const char *gp_connection_close_reason(const gp_connection *connection);
size_t gp_connection_outstanding(const gp_connection *connection);
void gp_connection_drain(gp_connection *connection);
void gp_connection_lost(gp_connection *connection);
/* Ends events whose time is over. Milliseconds until the next; -1 if none waits. */
int64_t gp_connection_tick(gp_connection *connection);

/* Control files, read again when they change. */

/* `folder` NULL: "config". The file need not be there. */
gp_control *gp_control_open(const char *name, const char *folder);
void gp_control_free(gp_control *control);
/* The lines as they are now; they live until the next call. */
const char *const *gp_control_lines(gp_control *control, size_t *count);
const char *gp_control_first(gp_control *control); /* NULL if there is no line */
bool gp_control_is_present(gp_control *control);
/* Whether the first word of a line is this one, without letter case. */
bool gp_control_has(gp_control *control, const char *word);
/* What is wrong with the file, whose last good lines count; NULL if nothing is. */
const char *gp_control_error(gp_control *control);

#ifdef __cplusplus
}
#endif
#endif
