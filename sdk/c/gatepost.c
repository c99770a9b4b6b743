/* gatepost.c: policy workers for the Gatepost SMTP server; gatepost.h says what each function does. */
#define _GNU_SOURCE
#include "gatepost.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* tables: made by generate of protocol/hooks.json and words.json */
enum { PROTOCOL = 1 };
enum {
    LIMIT_NESTING = 32,
    LIMIT_HANDSHAKE_FRAME = 65536,
    LIMIT_LEAST_MAX_FRAME = 65536,
    LIMIT_MOST_MAX_FRAME = 16777216,
    LIMIT_DEFAULT_MAX_FRAME = 65536,
    LIMIT_SDK_MAX_FRAME = 1048576,
    LIMIT_CONCURRENCY = 65535,
    LIMIT_DEFAULT_CONCURRENCY = 1,
    LIMIT_PLUGINS = 1024,
    LIMIT_EXTENSIONS = 64,
    LIMIT_SHORT_TEXT = 128,
    LIMIT_FREE_TEXT = 1024,
    LIMIT_CODE = 64,
    LIMIT_POOL_NAME = 64,
    LIMIT_WORKER_NAME = 64,
    LIMIT_ACTIONS = 256,
    LIMIT_TRACE = 256,
    LIMIT_NOTES_OCTETS = 65536,
    LIMIT_REPLY_LINES = 20,
    LIMIT_REPLY_LINE_OCTETS = 500,
    LIMIT_HEADER_NAME_OCTETS = 255,
    LIMIT_HEADER_VALUE_OCTETS = 65536,
    LIMIT_HEADER_LINE_OCTETS = 998,
    LIMIT_CHALLENGE_OCTETS = 8192,
    LIMIT_STATE_OCTETS = 4096,
    LIMIT_LOGIN_STEPS = 8,
    LIMIT_CLIENT_NAME_OCTETS = 255,
    LIMIT_PATH_OCTETS = 255,
    LIMIT_ATTEMPTS = 8,
    LIMIT_LOSSES = 3,
    LIMIT_PROGRESS = 100,
};
#define LIMIT_INTEGER INT64_C(9007199254740991)
enum { WORD_declined, WORD_ok, WORD_deny, WORD_denysoft, WORD_deny_disconnect, WORD_denysoft_disconnect, WORD_done };
static const char *const WORDS[] = {"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"};
static const char *const NEEDS[] = {"recipients", "headers", "message", "trace"};
static const char *const EXTENSIONS[] = {"FUTURERELEASE", "MT-PRIORITY"};
static const struct message { const char *type; char side; } MESSAGES[] = {
    {"hello", 'w'},
    {"welcome", 'f'},
    {"reject", 'f'},
    {"event", 'f'},
    {"notify", 'f'},
    {"verdict", 'w'},
    {"error", 'w'},
    {"progress", 'w'},
    {"cancel", 'f'},
    {"violation", 'f'},
    {"ping", 'b'},
    {"pong", 'b'},
    {"drain", 'b'},
    {"bye", 'b'},
};
static const struct action { const char *op; const char *fields[3]; } ACTIONS[] = {
    {"header.add", {"name", "value"}},
    {"header.set", {"id", "value"}},
    {"header.delete", {"id"}},
    {"header.delete_all", {"name"}},
    {"recipient.add", {"address"}},
    {"recipient.remove", {"id"}},
    {"recipient.replace", {"id", "address"}},
    {"recipient.refuse", {"id", "verdict"}},
    {"sender.replace", {"address"}},
    {"message.replace", {"path"}},
    {"session.relay", {"value"}},
    {"session.client_name", {"value"}},
    {"reply.delay", {"ms"}},
    {"auth.challenge", {"challenge", "state"}},
};
static const struct hook {
    const char *name;
    bool asked;
    char ok_reply;
    unsigned verdicts, actions;
    int ok_codes[4];
} HOOKS[] = {
    {"connect", true, 'r', 0x3f, 0x1c00, {220}},
    {"helo", true, 'r', 0x3f, 0x1400, {250}},
    {"ehlo", true, 'r', 0x3f, 0x1400, {250}},
    {"auth", true, 'r', 0x7f, 0x3400, {235}},
    {"mail", true, 'r', 0x3f, 0x1500, {250}},
    {"rcpt", true, 'r', 0x3f, 0x1570, {250, 251}},
    {"data", true, 'r', 0x3f, 0x170, {354}},
    {"data_headers_end", true, 'n', 0x33, 0x17f, {0}},
    {"received_line", true, 't', 0x3, 0x0, {0}},
    {"data_post_headers", true, 'n', 0x3, 0x37f, {0}},
    {"data_post", true, 'n', 0x7f, 0x3ff, {0}},
    {"queue_pre", true, 'n', 0x43, 0x17f, {0}},
    {"queue", true, 'r', 0x3f, 0x80, {250}},
    {"vrfy", true, 'r', 0x7f, 0x0, {250, 251, 252}},
    {"help", true, 'r', 0x47, 0x0, {211, 214}},
    {"noop", true, 'r', 0x57, 0x0, {250}},
    {"unrecognized_command", true, 'r', 0x7f, 0x0, {500}},
    {"quit", true, 'r', 0x43, 0x0, {221}},
    {"reset_transaction", false, 'n', 0x0, 0x0, {0}},
    {"queue_post", false, 'n', 0x0, 0x0, {0}},
    {"deny", false, 'n', 0x0, 0x0, {0}},
    {"ok", false, 'n', 0x0, 0x0, {0}},
    {"disconnect", false, 'n', 0x0, 0x0, {0}},
    {"status", false, 'n', 0x0, 0x0, {0}},
};
/* tables: end */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
_Static_assert((int)GP_DECLINED == (int)WORD_declined && (int)GP_OK == (int)WORD_ok && (int)GP_DENY == (int)WORD_deny, "verdicts");
_Static_assert((int)GP_DENYSOFT == (int)WORD_denysoft && (int)GP_DENY_DISCONNECT == (int)WORD_deny_disconnect, "verdicts");
_Static_assert((int)GP_DENYSOFT_DISCONNECT == (int)WORD_denysoft_disconnect && (int)GP_DONE == (int)WORD_done, "verdicts");

enum {
    SHORTEST_BACKOFF_MS = 50,
    LONGEST_BACKOFF_MS = 2000,
    LONGEST_RETRY_MS = 3600000,
    WELCOME_MS = 5000,
    CLOSE_MS = 2000,
    PREFERRED_LINE = 78, /* RFC 5322 §2.1.1 */
    LONGEST_WORD = 75,   /* RFC 2047 §2 */
    DEEPEST_INCLUDE = 16,
    SHOWN = 80,
};

typedef struct json_object json;

/* Memory: a program without memory cannot keep any promise, so it ends. */

static void *checked(void *memory) {
    if (!memory) {
        fputs("ERROR gatepost: no memory is left\n", stderr);
        abort();
    }
    return memory;
}

static void *make(size_t size) { return checked(calloc(1, size ? size : 1)); }

static void *grown(void *memory, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return checked(NULL);
    return checked(realloc(memory, count && size ? count * size : 1));
}

static char *copied(const char *octets, size_t length) {
    char *copy = make(length + 1);
    if (length) memcpy(copy, octets, length);
    return copy;
}

/* Blocks that are freed together. */
struct arena {
    struct block *blocks;
};
struct block {
    struct block *next;
    max_align_t data[];
};

static void *arena_make(struct arena *arena, size_t size) {
    struct block *block = make(sizeof *block + size);
    block->next = arena->blocks;
    arena->blocks = block;
    return block->data;
}

static char *arena_copy(struct arena *arena, const char *octets, size_t length) {
    char *copy = arena_make(arena, length + 1);
    if (length) memcpy(copy, octets, length);
    return copy;
}

static void arena_free(struct arena *arena) {
    while (arena->blocks) {
        struct block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

/* Octets that grow; a NUL follows them. */
struct buffer {
    char *data;
    size_t length, capacity;
};

static void add(struct buffer *buffer, const char *octets, size_t length) {
    if (length >= SIZE_MAX / 2 - buffer->length) checked(NULL);
    if (buffer->length + length + 1 > buffer->capacity) {
        buffer->capacity = 2 * (buffer->length + length) + 64;
        buffer->data = grown(buffer->data, buffer->capacity, 1);
    }
    if (length) memcpy(buffer->data + buffer->length, octets, length);
    buffer->length += length;
    buffer->data[buffer->length] = 0;
}

static void add_string(struct buffer *buffer, const char *string) { add(buffer, string, strlen(string)); }

static char *formatted(const char *format, va_list arguments) {
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) return checked(NULL);
    return text;
}

static char *text_of(const char *format, ...) GP_PRINTF(1, 2);
static char *text_of(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = formatted(format, arguments);
    va_end(arguments);
    return text;
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t now_ms(void) { return now_us() / 1000; }

/* JSON */

static json *made(json *value) { return checked(value); }
static json *new_string(const char *text) { return made(json_object_new_string(text)); }
static json *new_integer(int64_t value) { return made(json_object_new_int64(value)); }
static json *new_boolean(bool value) { return made(json_object_new_boolean(value)); }
static json *new_object(void) { return made(json_object_new_object()); }
static json *new_array(void) { return made(json_object_new_array()); }

static void put(json *object, const char *key, json *value) {
    if (json_object_object_add(object, key, value) != 0) checked(NULL);
}

static void append(json *array, json *value) {
    if (json_object_array_add(array, value) != 0) checked(NULL);
}

static json *copy_of(json *value) {
    json *copy = NULL;
    if (value && json_object_deep_copy(value, &copy, NULL) != 0) checked(NULL);
    return copy;
}

static json *member(json *object, const char *key) {
    json *value = NULL;
    if (json_object_is_type(object, json_type_object)) json_object_object_get_ex(object, key, &value);
    return value;
}

static bool is_object(json *value) { return value && json_object_is_type(value, json_type_object); }
static bool is_array(json *value) { return value && json_object_is_type(value, json_type_array); }
static bool is_string(json *value) { return value && json_object_is_type(value, json_type_string); }

static bool is_integer(json *value, int64_t lowest) {
    if (!value || !json_object_is_type(value, json_type_int)) return false;
    int64_t integer = json_object_get_int64(value);
    return integer >= lowest && integer <= LIMIT_INTEGER;
}

/* "" if the value is no string, or one with U+0000. */
static const char *string_of(json *value) {
    if (!is_string(value)) return "";
    const char *text = json_object_get_string(value);
    return strlen(text) == (size_t)json_object_get_string_len(value) ? text : "";
}

static bool is_word(json *value, const char *word) {
    return is_string(value) && (size_t)json_object_get_string_len(value) == strlen(word) && !strcmp(json_object_get_string(value), word);
}

static const char *written(json *value, size_t *length) {
    return checked((void *)(uintptr_t)json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, length));
}

/* How many octets the UTF-8 character here has; 0 if there is none (RFC 3629). */
static size_t character(const char *text, size_t length) {
    const unsigned char *at = (const unsigned char *)text;
    if (!length) return 0;
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (!size || size > length) return 0;
    for (size_t index = 1; index < size; index++)
        if ((at[index] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return size;
}

static bool is_utf8(const char *text, size_t length) {
    while (length) {
        size_t size = character(text, length);
        if (!size) return false;
        text += size;
        length -= size;
    }
    return true;
}

static bool is_ascii(const char *text, size_t length) {
    for (size_t index = 0; index < length; index++)
        if ((unsigned char)text[index] > 0x7f) return false;
    return true;
}

/* Text for people, as a JSON string: at most so many characters, '?' for what is no UTF-8. */
static json *for_people(const char *text, size_t characters) {
    struct buffer clean = {0};
    size_t length = strlen(text);
    while (length && characters--) {
        size_t size = character(text, length);
        if (size) add(&clean, text, size);
        else add_string(&clean, "?");
        text += size ? size : 1;
        length -= size ? size : 1;
    }
    json *value = new_string(clean.data ? clean.data : "");
    free(clean.data);
    return value;
}

/* The strict rules for a line. json-c is lenient (a key twice, NaN, comments, any depth, lone surrogates), so each line is
   read twice: here for its form, then by json-c for its values. */

struct scan {
    const char *at, *end, *why;
    size_t keys;
};

static bool broken(struct scan *scan, const char *why) {
    if (!scan->why) scan->why = why;
    return false;
}

static void skip_space(struct scan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r' || *scan->at == '\n')) scan->at++;
}

static bool scan_hex(struct scan *scan, unsigned *unit) {
    *unit = 0;
    if (scan->end - scan->at < 4) return broken(scan, "not JSON: an escape is cut short");
    for (int digit = 0; digit < 4; digit++) {
        char octet = *scan->at++;
        unsigned value = octet >= '0' && octet <= '9'   ? (unsigned)(octet - '0')
                         : octet >= 'a' && octet <= 'f' ? (unsigned)(octet - 'a' + 10)
                         : octet >= 'A' && octet <= 'F' ? (unsigned)(octet - 'A' + 10)
                                                        : 16;
        if (value > 15) return broken(scan, "not JSON: an escape without four hexadecimal digits");
        *unit = *unit * 16 + value;
    }
    return true;
}

static bool scan_string(struct scan *scan, bool is_key) {
    scan->at++;
    while (scan->at < scan->end) {
        unsigned char octet = (unsigned char)*scan->at++;
        if (octet == '"') return true;
        if (octet < 0x20) return broken(scan, "a control octet in a string");
        if (octet != '\\') continue;
        if (scan->at == scan->end) break;
        char escape = *scan->at++;
        if (escape != 'u') {
            if (!strchr("\"\\/bfnrt", escape) || !escape) return broken(scan, "not JSON: an escape that there is not");
            continue;
        }
        unsigned unit, low;
        if (!scan_hex(scan, &unit)) return false;
        if (!unit && is_key) return broken(scan, "U+0000 in a key");
        if (unit >= 0xdc00 && unit <= 0xdfff) return broken(scan, "a lone surrogate");
        if (unit >= 0xd800 && unit <= 0xdbff) {
            if (scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u') return broken(scan, "a lone surrogate");
            scan->at += 2;
            if (!scan_hex(scan, &low)) return false;
            if (low < 0xdc00 || low > 0xdfff) return broken(scan, "a lone surrogate");
        }
    }
    return broken(scan, "not JSON: a string without its end");
}

static size_t scan_digits(struct scan *scan) {
    const char *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') scan->at++;
    return (size_t)(scan->at - start);
}

static bool scan_number(struct scan *scan) {
    if (*scan->at == '-') scan->at++;
    const char *digits = scan->at;
    size_t count = scan_digits(scan);
    if (!count || (count > 1 && *digits == '0')) return broken(scan, "not JSON: a number of a wrong form");
    bool is_whole = true;
    if (scan->at < scan->end && *scan->at == '.') {
        is_whole = false;
        scan->at++;
        if (!scan_digits(scan)) return broken(scan, "not JSON: a number of a wrong form");
    }
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        is_whole = false;
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-')) scan->at++;
        if (!scan_digits(scan)) return broken(scan, "not JSON: a number of a wrong form");
    }
    if (!is_whole) return true; /* that it is finite is seen when it is read */
    int64_t value = 0;
    for (size_t index = 0; index < count && count <= 16; index++) value = value * 10 + (digits[index] - '0');
    if (count > 16 || value > LIMIT_INTEGER) return broken(scan, "an integer beyond 2^53-1");
    return true;
}

static bool scan_value(struct scan *scan, int depth);

static bool scan_members(struct scan *scan, int depth, char close) {
    if (depth > LIMIT_NESTING) return broken(scan, "nesting over 32");
    scan->at++;
    skip_space(scan);
    if (scan->at < scan->end && *scan->at == close) {
        scan->at++;
        return true;
    }
    for (;;) {
        if (close == '}') {
            skip_space(scan);
            if (scan->at == scan->end || *scan->at != '"') return broken(scan, "not JSON: no key");
            if (!scan_string(scan, true)) return false;
            scan->keys++;
            skip_space(scan);
            if (scan->at == scan->end || *scan->at++ != ':') return broken(scan, "not JSON: no colon after a key");
        }
        if (!scan_value(scan, depth)) return false;
        skip_space(scan);
        if (scan->at == scan->end) return broken(scan, "not JSON: cut short");
        char octet = *scan->at++;
        if (octet == close) return true;
        if (octet != ',') return broken(scan, "not JSON: no comma between two values");
    }
}

static bool scan_value(struct scan *scan, int depth) {
    skip_space(scan);
    if (scan->at == scan->end) return broken(scan, "not JSON: cut short");
    static const char *const words[] = {"true", "false", "null"};
    switch (*scan->at) {
    case '{': return scan_members(scan, depth + 1, '}');
    case '[': return scan_members(scan, depth + 1, ']');
    case '"': return scan_string(scan, false);
    default:
        if (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9')) return scan_number(scan);
        for (size_t index = 0; index < COUNT(words); index++) {
            size_t length = strlen(words[index]);
            if ((size_t)(scan->end - scan->at) >= length && !memcmp(scan->at, words[index], length)) {
                scan->at += length;
                return true;
            }
        }
        return broken(scan, "not JSON");
    }
}

/* Counts the keys that json-c kept: of two alike it keeps one. */
static bool count_keys(json *value, size_t *keys) {
    if (is_object(value)) {
        json_object_object_foreach(value, key, inner) {
            (void)key;
            ++*keys;
            if (!count_keys(inner, keys)) return false;
        }
    } else if (is_array(value)) {
        size_t count = json_object_array_length(value);
        for (size_t index = 0; index < count; index++)
            if (!count_keys(json_object_array_get_idx(value, index), keys)) return false;
    } else if (value && json_object_is_type(value, json_type_double)) {
        return isfinite(json_object_get_double(value));
    }
    return true;
}

json *gp_parse(const char *line, size_t length, const char **why) {
    const char *unused;
    if (!why) why = &unused;
    struct scan scan = {line, line + length, NULL, 0};
    *why = NULL;
    if (length > INT32_MAX / 2) *why = "longer than any line";
    else if (!is_utf8(line, length)) *why = "not UTF-8";
    else if (memchr(line, 0, length)) *why = "a NUL";
    if (*why) return NULL;
    skip_space(&scan);
    const char *start = scan.at;
    if (!scan_value(&scan, 0)) {
        *why = scan.why;
        return NULL;
    }
    const char *end = scan.at;
    skip_space(&scan);
    if (scan.at != scan.end) *why = "not JSON: more after the object";
    else if (*start != '{') *why = "not an object";
    if (*why) return NULL;
    struct json_tokener *tokener = checked(json_tokener_new_ex(LIMIT_NESTING + 2));
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json *value = json_tokener_parse_ex(tokener, start, (int)(end - start));
    if (json_tokener_get_error(tokener) != json_tokener_success) *why = json_tokener_error_desc(json_tokener_get_error(tokener));
    json_tokener_free(tokener);
    size_t keys = 0;
    if (!*why && !count_keys(value, &keys)) *why = "a number that is no finite double";
    if (!*why && keys != scan.keys) *why = "a key twice in one object";
    if (*why) {
        json_object_put(value);
        return NULL;
    }
    return value;
}

/* Bytes */

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json *gp_field_of_bytes(const char *octets, size_t length) {
    if (is_utf8(octets, length) && (!length || !memchr(octets, 0, length)))
        return made(json_object_new_string_len(length ? octets : "", (int)length));
    struct buffer text = {0};
    for (size_t index = 0; index < length; index += 3) {
        size_t count = length - index < 3 ? length - index : 3;
        uint32_t bits = 0;
        for (size_t at = 0; at < 3; at++) bits = bits << 8 | (at < count ? (unsigned char)octets[index + at] : 0);
        char four[4] = {BASE64[bits >> 18 & 63], BASE64[bits >> 12 & 63], count > 1 ? BASE64[bits >> 6 & 63] : '=', count > 2 ? BASE64[bits & 63] : '='};
        add(&text, four, 4);
    }
    json *field = new_object();
    put(field, "b64", made(json_object_new_string_len(text.data, (int)text.length)));
    free(text.data);
    return field;
}

char *gp_bytes_of_field(json *field, size_t *length) {
    if (is_string(field)) {
        *length = (size_t)json_object_get_string_len(field);
        return copied(json_object_get_string(field), *length);
    }
    json *text = member(field, "b64");
    if (!is_string(text) || json_object_object_length(field) != 1) return NULL;
    const char *four = json_object_get_string(text);
    size_t count = (size_t)json_object_get_string_len(text);
    if (count % 4) return NULL;
    char *octets = make(count / 4 * 3 + 1);
    size_t made_octets = 0;
    for (size_t index = 0; index < count; index += 4) {
        uint32_t bits = 0;
        size_t padding = 0;
        for (size_t at = 0; at < 4; at++) {
            const char *digit = four[index + at] && !padding ? strchr(BASE64, four[index + at]) : NULL;
            if (digit) bits = bits << 6 | (uint32_t)(digit - BASE64);
            else if (four[index + at] == '=' && index + 4 == count && at >= 2) {
                padding++;
                bits <<= 6;
            } else goto wrong;
        }
        if ((padding == 1 && bits & 0xff) || (padding == 2 && bits & 0xffff)) goto wrong; /* not canonical */
        for (size_t at = 0; at + padding < 3; at++) octets[made_octets++] = (char)(bits >> (16 - 8 * at) & 0xff);
    }
    octets[made_octets] = 0;
    *length = made_octets;
    return octets;
wrong:
    free(octets);
    return NULL;
}

static gp_bytes arena_bytes(struct arena *arena, json *field) {
    gp_bytes bytes = {NULL, 0};
    char *octets = field ? gp_bytes_of_field(field, &bytes.length) : NULL;
    if (octets) bytes.data = arena_copy(arena, octets, bytes.length);
    free(octets);
    return bytes;
}

static bool same(gp_bytes one, gp_bytes other) {
    return one.length == other.length && (!one.length || !memcmp(one.data, other.data, one.length));
}

static bool alike(gp_bytes one, gp_bytes other) {
    return one.length == other.length && (!one.length || !strncasecmp(one.data, other.data, one.length));
}

/* Header values */

static const char *find_fold(const char *at, const char *end) {
    for (; end - at >= 3; at++)
        if (at[0] == '\r' && at[1] == '\n' && (at[2] == ' ' || at[2] == '\t')) return at;
    return NULL;
}

static bool is_blank(const char *text, size_t length) {
    for (size_t index = 0; index < length; index++)
        if (text[index] != ' ' && text[index] != '\t') return false;
    return true;
}

static bool is_gap(char octet) { return octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n'; }

/* The text as encoded words of whole characters, folded between them. */
static void add_words(struct buffer *out, struct buffer *run) {
    if (!run->length) return;
    bool is_text = is_utf8(run->data, run->length);
    const char *start = is_text ? "=?UTF-8?Q?" : "=?unknown-8bit?Q?";
    size_t word = 0;
    for (size_t at = 0; at < run->length;) {
        size_t size = is_text ? character(run->data + at, run->length - at) : 1;
        char quoted[16];
        size_t length = 0;
        for (size_t index = 0; index < size; index++) {
            unsigned char octet = (unsigned char)run->data[at + index];
            if (octet < 0x80 && isalnum(octet)) quoted[length++] = (char)octet;
            else if (octet == ' ') quoted[length++] = '_';
            else length += (size_t)snprintf(quoted + length, sizeof quoted - length, "=%02X", octet);
        }
        if (!word || word + length + 2 > LONGEST_WORD) {
            if (word) add_string(out, "?=\r\n ");
            add_string(out, start);
            word = strlen(start);
        }
        add(out, quoted, length);
        word += length;
        at += size;
    }
    add_string(out, "?=");
    run->length = 0;
}

/* Each run of words with octets above 127 as encoded words, with the white space between them: it is not shown
   between two encoded words (RFC 2047 §6.2). */
static void add_encoded(struct buffer *out, const char *text, size_t length) {
    struct buffer run = {0}, gap = {0};
    for (size_t at = 0; at < length;) {
        size_t end = at;
        while (end < length && is_gap(text[end])) end++;
        add(&gap, text + at, end - at);
        at = end;
        while (end < length && !is_gap(text[end])) end++;
        if (end == at) break;
        if (!is_ascii(text + at, end - at)) {
            if (run.length) {
                for (size_t index = 0; index < gap.length; index++)
                    if (gap.data[index] != '\r' && gap.data[index] != '\n') add(&run, gap.data + index, 1);
            } else if (gap.length) {
                add(out, gap.data, gap.length);
            }
            add(&run, text + at, end - at);
        } else {
            add_words(out, &run);
            if (gap.length) add(out, gap.data, gap.length);
            add(out, text + at, end - at);
        }
        gap.length = 0;
        at = end;
    }
    add_words(out, &run);
    if (gap.length) add(out, gap.data, gap.length);
    free(run.data);
    free(gap.data);
}

struct folding {
    struct buffer *out, current;
    size_t lines, before;
};

static void end_line(struct folding *folding) {
    if (folding->lines++) add_string(folding->out, "\r\n");
    if (folding->current.length) add(folding->out, folding->current.data, folding->current.length);
    folding->current.length = 0;
}

/* One line as lines of at most 998 octets; `before` octets stand before it. */
static void add_folded(struct buffer *out, const char *line, size_t length, size_t before) {
    if (before + length <= LIMIT_HEADER_LINE_OCTETS) {
        add(out, line, length);
        return;
    }
    struct folding folding = {out, {0}, 0, before};
    while (length && (line[length - 1] == ' ' || line[length - 1] == '\t')) length--;
    for (size_t at = 0; at < length;) {
        size_t word = at;
        while (word < length && (line[word] == ' ' || line[word] == '\t')) word++;
        size_t end = word;
        while (end < length && line[end] != ' ' && line[end] != '\t') end++;
        const char *space = line + at;
        size_t spaces = word - at < PREFERRED_LINE ? word - at : PREFERRED_LINE, rest = end - word, start = 0;
        size_t taken = folding.lines ? 0 : before;
        if (folding.current.length && taken + folding.current.length + spaces + rest > PREFERRED_LINE) end_line(&folding);
        for (;;) {
            size_t held = (folding.lines ? 0 : before) + folding.current.length;
            size_t room = held < LIMIT_HEADER_LINE_OCTETS ? LIMIT_HEADER_LINE_OCTETS - held : 0;
            if (spaces + rest - start <= room) break;
            size_t piece = room > spaces ? room - spaces : 0;
            if (piece) {
                add(&folding.current, space, spaces);
                add(&folding.current, line + word + start, piece);
            }
            end_line(&folding);
            if (piece || !spaces) {
                space = " ";
                spaces = 1;
            }
            start += piece;
        }
        add(&folding.current, space, spaces);
        add(&folding.current, line + word + start, rest - start);
        at = end;
    }
    end_line(&folding);
    free(folding.current.data);
}

/* Calls for each line of a folded value. */
static const char *line_end(const char *at, const char *end) {
    const char *fold = find_fold(at, end);
    return fold ? fold : end;
}

char *gp_legal_value(const char *value, size_t name_octets, bool allows_8bit) {
    struct buffer clean = {0}, encoded = {0}, folded = {0};
    const char *end = value + strlen(value);
    for (const char *at = value;;) {
        const char *stop = line_end(at, end);
        if (at == value || !is_blank(at, (size_t)(stop - at))) {
            if (at != value) add_string(&clean, "\r\n");
            for (const char *octet = at; octet < stop; octet++)
                if (*octet != '\r' && *octet != '\n') add(&clean, octet, 1);
        }
        if (stop == end) break;
        at = stop + 2;
    }
    add(&clean, "", 0);
    if (!allows_8bit && !is_ascii(clean.data, clean.length)) add_encoded(&encoded, clean.data, clean.length);
    else add(&encoded, clean.data, clean.length);
    end = encoded.data + encoded.length;
    for (const char *at = encoded.data;;) {
        const char *stop = line_end(at, end);
        if (at != encoded.data) add_string(&folded, "\r\n");
        add_folded(&folded, at, (size_t)(stop - at), at == encoded.data ? name_octets + 1 : 0);
        if (stop == end) break;
        at = stop + 2;
    }
    free(clean.data);
    free(encoded.data);
    return folded.data;
}

/* Whether a verdict is one that a frontend takes (protocol/verdicts.md, Invalid verdicts) */

struct field {
    int64_t id;
    gp_bytes name, value;
    bool gone;
};

struct check {
    json *event, *verdict;
    struct arena arena;
    const char *violation;
    char *message;
    size_t size;
    /* What the actions would leave of the lists that the event has. */
    const struct hook *hook;
    bool utf8, knows_headers, knows_recipients, added_header, added_recipient, is_replaced;
    struct field *headers;
    int64_t *recipients, candidate;
    size_t header_count, recipient_count;
};

static const struct hook *hook_named(json *name) {
    for (size_t index = 0; index < COUNT(HOOKS); index++)
        if (is_word(name, HOOKS[index].name)) return &HOOKS[index];
    return NULL;
}

static int word_named(json *name) {
    for (size_t index = 0; index < COUNT(WORDS); index++)
        if (is_word(name, WORDS[index])) return (int)index;
    return -1;
}

static int action_named(json *op) {
    for (size_t index = 0; index < COUNT(ACTIONS); index++)
        if (is_word(op, ACTIONS[index].op)) return (int)index;
    return -1;
}

static bool violate(struct check *check, const char *violation, const char *format, ...) GP_PRINTF(3, 4);
static bool violate(struct check *check, const char *violation, const char *format, ...) {
    if (check->violation) return false;
    check->violation = violation;
    if (!check->size) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->message, check->size, format, arguments);
    va_end(arguments);
    return false;
}

/* A value for people: JSON of at most 80 octets. */
static const char *shown(struct check *check, json *value) {
    size_t length;
    const char *text = value ? written(value, &length) : "null";
    if (!value) length = 4;
    if (length <= SHOWN) return arena_copy(&check->arena, text, length);
    length = SHOWN - 3;
    while (length && ((unsigned char)text[length] & 0xc0) == 0x80) length--;
    char *copy = arena_copy(&check->arena, text, length + 3);
    memcpy(copy + length, "...", 3);
    return copy;
}

static bool form_of_reply(struct check *check, json *reply, const char *place, const char *rule) {
    if (!reply) return true;
    if (!is_object(reply)) return violate(check, rule, "%s: %s: not an object", place, shown(check, reply));
    json *code = member(reply, "code"), *status = member(reply, "status"), *text = member(reply, "text");
    if (code && !is_integer(code, -LIMIT_INTEGER)) return violate(check, rule, "%s.code: %s: not an integer", place, shown(check, code));
    if (status && !is_string(status)) return violate(check, rule, "%s.status: %s: not a string", place, shown(check, status));
    bool is_good = !text || is_array(text);
    for (size_t index = 0; text && is_good && index < json_object_array_length(text); index++)
        is_good = is_string(json_object_array_get_idx(text, index));
    return is_good || violate(check, rule, "%s.text: %s: not a list of strings", place, shown(check, text));
}

static bool is_good_field(struct check *check, const char *op, const char *key, json *action) {
    json *value = member(action, key);
    if (!strcmp(op, "session.relay")) return value && json_object_is_type(value, json_type_boolean);
    if (!strcmp(op, "session.client_name") && !value) return json_object_object_get_ex(action, key, NULL);
    if (!strcmp(key, "id")) return is_integer(value, -LIMIT_INTEGER);
    if (!strcmp(key, "ms")) return is_integer(value, 0);
    if (!strcmp(key, "verdict")) return is_word(value, "deny") || is_word(value, "denysoft");
    if (!strcmp(key, "path")) return is_string(value);
    return arena_bytes(&check->arena, value).data != NULL;
}

static bool form_of_actions(struct check *check, json *actions) {
    if (!actions) return true;
    if (!is_array(actions)) return violate(check, "actions_malformed", "actions: %s: not a list", shown(check, actions));
    size_t count = json_object_array_length(actions);
    if (count > LIMIT_ACTIONS) return violate(check, "too_many_actions", "actions: %zu: over %d", count, LIMIT_ACTIONS);
    for (size_t index = 0; index < count; index++) {
        json *action = json_object_array_get_idx(actions, index), *op = member(action, "op");
        if (!is_string(op)) return violate(check, "actions_malformed", "actions[%zu]: %s: not an object with a string op", index, shown(check, action));
        int kind = action_named(op);
        if (kind < 0) return violate(check, "unknown_action", "actions[%zu].op: %s: none that there is", index, shown(check, op));
        for (size_t field = 0; field < COUNT(ACTIONS[kind].fields) && ACTIONS[kind].fields[field]; field++) {
            const char *key = ACTIONS[kind].fields[field];
            if (!is_good_field(check, ACTIONS[kind].op, key, action))
                return violate(check, "actions_malformed", "actions[%zu].%s: %s: missing, or of a wrong type", index, key, shown(check, member(action, key)));
        }
        json *at = member(action, "at");
        if (is_word(op, "header.add") && at && !is_word(at, "top") && !is_word(at, "bottom"))
            return violate(check, "actions_malformed", "actions[%zu].at: %s: neither top nor bottom", index, shown(check, at));
        char place[64];
        snprintf(place, sizeof place, "actions[%zu].reply", index);
        if (is_word(op, "recipient.refuse") && !form_of_reply(check, member(action, "reply"), place, "actions_malformed")) return false;
    }
    return true;
}

static size_t characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t index = 0; index < length; index++) count += ((unsigned char)text[index] & 0xc0) != 0x80;
    return count;
}

static bool form(struct check *check) {
    json *verdict = check->verdict, *word = member(verdict, "verdict"), *plugin = member(verdict, "plugin");
    if (word_named(word) < 0)
        return violate(check, "unknown_verdict", "verdict: %s: none of declined, ok, deny, denysoft, deny_disconnect, denysoft_disconnect, done", shown(check, word));
    if (plugin && (!is_string(plugin) || characters(json_object_get_string(plugin), (size_t)json_object_get_string_len(plugin)) > LIMIT_SHORT_TEXT))
        return violate(check, "plugin_malformed", "plugin: %s: not a string of at most %d characters", shown(check, plugin), LIMIT_SHORT_TEXT);
    if (!form_of_reply(check, member(verdict, "reply"), "reply", "reply_malformed")) return false;
    json *notes = member(verdict, "notes");
    bool is_good = !notes || is_object(notes);
    for (int scope = 0; notes && is_good && scope < 2; scope++) {
        json *patch = NULL;
        if (json_object_object_get_ex(notes, scope ? "transaction" : "session", &patch)) is_good = is_object(patch);
    }
    if (!is_good) return violate(check, "notes_malformed", "notes: %s: not an object of objects", shown(check, notes));
    if (!form_of_actions(check, member(verdict, "actions"))) return false;
    json *trace = member(verdict, "trace");
    if (!trace) return true;
    if (!is_array(trace) || json_object_array_length(trace) > LIMIT_TRACE)
        return violate(check, "trace_malformed", "trace: not a list of at most %d", LIMIT_TRACE);
    for (size_t index = 0; index < json_object_array_length(trace); index++) {
        json *entry = json_object_array_get_idx(trace, index);
        if (!is_string(member(entry, "plugin")) || word_named(member(entry, "verdict")) < 0 || !is_integer(member(entry, "us"), 0))
            return violate(check, "trace_malformed", "trace[%zu]: %s: not plugin, verdict and us", index, shown(check, entry));
    }
    return true;
}

static int class_of(int word) {
    return word == GP_DENY || word == GP_DENY_DISCONNECT ? 5 : word == GP_DENYSOFT || word == GP_DENYSOFT_DISCONNECT ? 4 : 0;
}

static bool is_code(int64_t code, int word, const struct hook *hook) {
    if (code < 200 || code >= 600 || code / 10 % 10 > 5) return false;
    bool closing = code == 421 || code == 521;
    if (word == GP_OK) {
        for (size_t index = 0; index < COUNT(hook->ok_codes); index++)
            if (hook->ok_codes[index] == code) return true;
        return false;
    }
    if (word == GP_DONE) return !strcmp(hook->name, "quit") ? code == 221 : code / 100 != 3 && !closing && code != 221;
    return code / 100 == class_of(word)
           && (!closing || !strcmp(hook->name, "connect") || word == GP_DENY_DISCONNECT || word == GP_DENYSOFT_DISCONNECT);
}

/* The class of an enhanced status code (RFC 3463); -1 if it is none. */
static int class_of_status(const char *status) {
    if (status[0] < '0' || status[0] > '9') return -1;
    const char *at = status + 1;
    for (int part = 0; part < 2; part++) {
        if (*at++ != '.') return -1;
        size_t digits = strspn(at, "0123456789");
        if (!digits || digits > 3 || (digits > 1 && *at == '0')) return -1;
        at += digits;
    }
    return *at ? -1 : status[0] - '0';
}

static bool has_control(const char *text, size_t length) {
    const unsigned char *at = (const unsigned char *)text;
    for (size_t index = 0; index < length; index++) {
        if (at[index] < 0x20 || at[index] == 0x7f) return true;
        if (at[index] == 0xc2 && index + 1 < length && at[index + 1] < 0xa0) return true;
        if (at[index] == 0xe2 && index + 2 < length && at[index + 1] == 0x80 && (at[index + 2] & 0xfe) == 0xa8) return true;
    }
    return false;
}

static bool meaning_of_reply(struct check *check, json *reply, int word, const char *place) {
    const struct hook *hook = check->hook;
    bool is_line = !strcmp(hook->name, "received_line") && word == GP_OK, is_challenge = !strcmp(hook->name, "auth") && word == GP_DONE;
    if (!reply) {
        if ((word == GP_DONE && !is_challenge) || is_line)
            return violate(check, "reply_missing", "%s: %s at %s needs one", place, WORDS[word], hook->name);
        return true;
    }
    json *code = member(reply, "code"), *status = member(reply, "status"), *text = member(reply, "text");
    if (is_challenge) return violate(check, "reply_not_allowed", "%s: %s: the challenge takes its place", place, shown(check, reply));
    if ((word == GP_DONE && (!code || !text)) || (is_line && !text))
        return violate(check, "reply_missing", "%s: %s: no code, or no text", place, shown(check, reply));
    bool is_silent = word == GP_OK && hook->ok_reply == 'n';
    if (word == GP_DECLINED || is_silent || (!strcmp(hook->name, "received_line") && (code || status)))
        return violate(check, "reply_not_allowed", "%s: %s: the client does not get it", place, shown(check, reply));
    if (code && !is_code(json_object_get_int64(code), word, hook))
        return violate(check, "reply_code", "%s.code: %s: not for %s at %s", place, shown(check, code), WORDS[word], hook->name);
    if (status) {
        int silence = !strcmp(hook->name, "unrecognized_command") ? 5 : 2;
        int wanted = code ? (int)(json_object_get_int64(code) / 100) : class_of(word) ? class_of(word) : silence;
        if (class_of_status(string_of(status)) != wanted)
            return violate(check, "reply_status", "%s.status: %s: not a status code of class %d", place, shown(check, status), wanted);
    }
    if (!text) return true;
    size_t count = json_object_array_length(text);
    bool has_text = false;
    for (size_t index = 0; index < count; index++) has_text |= json_object_get_string_len(json_object_array_get_idx(text, index)) > 0;
    if (count < 1 || count > LIMIT_REPLY_LINES || (is_line && !has_text))
        return violate(check, "reply_text", "%s.text: %zu lines: not 1 to %d", place, count, LIMIT_REPLY_LINES);
    for (size_t index = 0; index < count; index++) {
        json *line = json_object_array_get_idx(text, index);
        const char *octets = json_object_get_string(line), *wrong = NULL;
        size_t length = (size_t)json_object_get_string_len(line);
        if (!is_utf8(octets, length)) wrong = "not UTF-8";
        else if (has_control(octets, length)) wrong = "a control character";
        else if (length > LIMIT_REPLY_LINE_OCTETS) wrong = "over 500 octets";
        else if (!check->utf8 && !is_ascii(octets, length)) wrong = "not ASCII, and the session has no SMTPUTF8";
        if (wrong) return violate(check, "reply_text", "%s.text[%zu]: %s: %s", place, index, is_utf8(octets, length) ? shown(check, line) : "octets", wrong);
    }
    return true;
}

/* RFC 7396; `target` is changed. */
static void merge(json *target, json *patch) {
    json_object_object_foreach(patch, key, value) {
        json *before = member(target, key);
        if (!value) {
            json_object_object_del(target, key);
        } else if (is_object(value)) {
            json *inner = is_object(before) ? copy_of(before) : new_object();
            merge(inner, value);
            put(target, key, inner);
        } else {
            put(target, key, copy_of(value));
        }
    }
}

static bool meaning_of_notes(struct check *check, json *notes) {
    json *transaction = member(notes, "transaction");
    if (transaction && json_object_object_length(transaction) && !member(check->event, "transaction"))
        return violate(check, "notes_no_transaction", "notes.transaction: there is no transaction");
    for (int scope = 0; scope < 2; scope++) {
        const char *name = scope ? "transaction" : "session";
        json *patch = member(notes, name);
        if (!patch || !json_object_object_length(patch)) continue;
        size_t octets, left;
        written(patch, &octets);
        json *before = member(member(check->event, "notes"), name), *merged = is_object(before) ? copy_of(before) : new_object();
        merge(merged, patch);
        written(merged, &left);
        json_object_put(merged);
        if (left > octets) octets = left;
        if (octets > LIMIT_NOTES_OCTETS) return violate(check, "notes_too_large", "notes.%s: %zu octets: over %d", name, octets, LIMIT_NOTES_OCTETS);
    }
    return true;
}

static bool all_within(gp_bytes text, size_t longest, bool allows_colon) {
    for (size_t index = 0; index < text.length; index++) {
        unsigned char octet = (unsigned char)text.data[index];
        if (octet < 33 || octet > 126 || (octet == ':' && !allows_colon)) return false;
    }
    return text.length >= 1 && text.length <= longest;
}

static const char *wrong_in_value(gp_bytes value) {
    if (value.length > LIMIT_HEADER_VALUE_OCTETS) return "over 65536 octets";
    if (value.length && memchr(value.data, 0, value.length)) return "a NUL";
    const char *end = value.data + value.length, *wrong = NULL;
    for (const char *at = value.data; !wrong;) {
        const char *stop = line_end(at, end);
        if (memchr(at, '\n', (size_t)(stop - at)))
            wrong = memmem(value.data, value.length, "\r\n", 2) ? "a CRLF that no space or TAB follows" : "a bare LF";
        else if (memchr(at, '\r', (size_t)(stop - at))) wrong = "a bare CR";
        else if (at != value.data && is_blank(at, (size_t)(stop - at))) wrong = "a line of white space alone";
        if (stop == end) break;
        at = stop + 2;
    }
    return wrong;
}

static bool meaning_of_fields(struct check *check, json *actions) {
    struct arena *arena = &check->arena;
    for (size_t index = 0; index < json_object_array_length(actions); index++) {
        json *action = json_object_array_get_idx(actions, index), *op = member(action, "op");
        if (!(check->hook->actions >> action_named(op) & 1))
            return violate(check, "action_not_allowed", "actions[%zu].op: %s: not at %s", index, shown(check, op), check->hook->name);
        json *name = member(action, "name"), *value = member(action, "value");
        if ((is_word(op, "header.add") || is_word(op, "header.delete_all")) && !all_within(arena_bytes(arena, name), LIMIT_HEADER_NAME_OCTETS, false))
            return violate(check, "header_name", "actions[%zu].name: %s: not a field name (RFC 5322 §2.2)", index, shown(check, name));
        if (is_word(op, "header.add") || is_word(op, "header.set")) {
            const char *wrong = wrong_in_value(arena_bytes(arena, value));
            if (wrong) return violate(check, "header_value", "actions[%zu].value: %s: %s", index, shown(check, value), wrong);
        } else if (is_word(op, "session.client_name") && value) {
            if (!all_within(arena_bytes(arena, value), LIMIT_CLIENT_NAME_OCTETS, true))
                return violate(check, "value_invalid", "actions[%zu].value: %s: not a host name", index, shown(check, value));
        } else if (is_word(op, "message.replace")) {
            json *path = member(action, "path");
            const char *text = string_of(path);
            if (index) return violate(check, "action_not_allowed", "actions[%zu].op: %s: not the first action", index, shown(check, op));
            if (!*text || !strcmp(text, ".") || !strcmp(text, "..") || strchr(text, '/') || strlen(text) > LIMIT_PATH_OCTETS)
                return violate(check, "path_invalid", "actions[%zu].path: %s: not a bare file name", index, shown(check, path));
        } else if (is_word(op, "recipient.refuse")) {
            char place[64];
            snprintf(place, sizeof place, "actions[%zu].reply", index);
            if (!meaning_of_reply(check, member(action, "reply"), word_named(member(action, "verdict")), place)) return false;
        } else if (is_word(op, "auth.challenge")) {
            if (arena_bytes(arena, member(action, "challenge")).length > LIMIT_CHALLENGE_OCTETS)
                return violate(check, "challenge_too_large", "actions[%zu].challenge: over %d octets", index, LIMIT_CHALLENGE_OCTETS);
            if (arena_bytes(arena, member(action, "state")).length > LIMIT_STATE_OCTETS)
                return violate(check, "challenge_too_large", "actions[%zu].state: over %d octets", index, LIMIT_STATE_OCTETS);
        }
    }
    return true;
}

static bool meaning_of_challenge(struct check *check, int word, json *actions) {
    size_t count = 0;
    for (size_t index = 0; actions && index < json_object_array_length(actions); index++)
        count += is_word(member(json_object_array_get_idx(actions, index), "op"), "auth.challenge");
    if (word != GP_DONE) {
        if (count) return violate(check, "challenge_not_allowed", "actions: a challenge with %s", WORDS[word]);
        return true;
    }
    if (count != 1) return violate(check, count ? "challenge_not_allowed" : "challenge_missing", "actions: %zu challenges with done", count);
    json *step = member(member(check->event, "args"), "step");
    if (!is_integer(step, 1) || json_object_get_int64(step) >= LIMIT_LOGIN_STEPS)
        return violate(check, "challenge_not_allowed", "actions: the login has no further step");
    return true;
}

static struct field *field_with(struct check *check, int64_t id) {
    for (size_t index = 0; index < check->header_count; index++)
        if (check->headers[index].id == id && !check->headers[index].gone) return &check->headers[index];
    return NULL;
}

static bool check_value(struct check *check, gp_bytes name, json *shown_value, gp_bytes value, const struct field *old, size_t index) {
    if (!check->knows_headers && !check->is_replaced) return true; /* it may be one that came */
    for (size_t at = 0; check->knows_headers && at < check->header_count; at++)
        if (!check->headers[at].gone && same(check->headers[at].value, value)) return true;
    bool is_spaced = value.length && (value.data[0] == ' ' || value.data[0] == '\t');
    size_t taken = name.length + 1 + !is_spaced;
    const char *end = value.data + value.length;
    for (const char *at = value.data;;) {
        const char *stop = line_end(at, end);
        if (taken + (size_t)(stop - at) > LIMIT_HEADER_LINE_OCTETS)
            return violate(check, "header_value", "actions[%zu].value: %s: a line over %d octets", index, shown(check, shown_value), LIMIT_HEADER_LINE_OCTETS);
        taken = 0;
        if (stop == end) break;
        at = stop + 2;
    }
    if (!is_ascii(value.data, value.length) && !check->utf8 && !(old && !is_ascii(old->value.data, old->value.length)))
        return violate(check, "header_value", "actions[%zu].value: %s: not ASCII, and the session has no SMTPUTF8", index, shown(check, shown_value));
    return true;
}

static bool apply_header(struct check *check, json *action, json *op, size_t index) {
    struct field *old = NULL;
    json *shown_value = member(action, "value");
    if (is_word(op, "header.set") || is_word(op, "header.delete")) {
        int64_t id = json_object_get_int64(member(action, "id"));
        old = check->knows_headers ? field_with(check, id) : NULL;
        if (check->is_replaced || (check->knows_headers && !old && !(check->added_header && id > 0)))
            return violate(check, "unknown_header", "actions[%zu].id: %" PRId64 ": no field has it", index, id);
    }
    if (is_word(op, "header.add")) {
        gp_bytes name = arena_bytes(&check->arena, member(action, "name")), value = arena_bytes(&check->arena, shown_value);
        check->added_header = true;
        return check_value(check, name, shown_value, value, NULL, index);
    }
    if (is_word(op, "header.set")) {
        gp_bytes value = arena_bytes(&check->arena, shown_value), name = old ? old->name : (gp_bytes){"", 0};
        if (!check_value(check, name, shown_value, value, old, index)) return false;
        if (old) old->value = value;
    } else if (is_word(op, "header.delete")) {
        if (old) old->gone = true;
    } else {
        gp_bytes name = arena_bytes(&check->arena, member(action, "name"));
        for (size_t at = 0; at < check->header_count; at++)
            if (alike(check->headers[at].name, name)) check->headers[at].gone = true;
    }
    return true;
}

static bool apply_recipient(struct check *check, json *action, json *op, size_t index) {
    if (is_word(op, "recipient.add")) {
        check->added_recipient = true;
        return true;
    }
    int64_t id = json_object_get_int64(member(action, "id"));
    if (is_word(op, "recipient.replace") && check->candidate && id == check->candidate) return true;
    bool is_known = !check->knows_recipients || check->added_recipient;
    for (size_t at = 0; at < check->recipient_count; at++) is_known |= check->recipients[at] == id;
    if (id < 1 || !is_known || (check->candidate && id == check->candidate))
        return violate(check, "unknown_recipient", "actions[%zu].id: %" PRId64 ": no recipient has it", index, id);
    for (size_t at = 0; is_word(op, "recipient.remove") && at < check->recipient_count; at++)
        if (check->recipients[at] == id) check->recipients[at--] = check->recipients[--check->recipient_count];
    return true;
}

static bool is_in(unsigned char octet, const char *set) { return octet >= 0x80 || (octet && strchr(set, octet)); }

/* What the SMTP parser takes: local part, then domain or address literal (RFC 5321 §4.1.2, RFC 6531 §3.3). */
static bool is_mailbox(gp_bytes address) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    static const char atext[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-./=?^_`{|}~";
    const unsigned char *at = (const unsigned char *)address.data, *end = at + address.length, *local = at;
    if (at < end && *at == '"') {
        for (at++; at < end && *at != '"'; at++) {
            if (*at == '\\' && (++at == end || *at < 0x20 || *at > 0x7e)) return false;
            if (*at < 0x20 || *at == 0x7f) return false;
        }
        if (at++ == end) return false;
    } else {
        while (at < end && is_in(*at, atext)) at++;
        if (at == local) return false;
    }
    if (at - local > 64 || at == end || *at++ != '@' || at == end) return false;
    size_t length = (size_t)(end - at);
    if (length > 1 && end[-1] == '.') length--;
    if (length > 255 || address.length > 254) return false;
    if (*at == '[') {
        if (end[-1] != ']' || end - at < 3) return false;
        for (at++; at < end - 1; at++)
            if (*at < 0x21 || *at > 0x7e || (*at > 'Z' && *at < '^')) return false;
        return true;
    }
    for (const unsigned char *stop = at + length;; at++) {
        const unsigned char *label = at;
        while (at < stop && (is_in(*at, letters) || *at == '-')) at++;
        if (at == label || *label == '-' || at[-1] == '-') return false;
        if (at == stop) return true;
        if (*at != '.') return false;
    }
}

static bool check_address(struct check *check, json *field, bool may_be_null, size_t index) {
    gp_bytes address = arena_bytes(&check->arena, field), postmaster = {"postmaster", 10};
    if ((may_be_null && !address.length) || (!may_be_null && alike(address, postmaster))) return true;
    if (!is_mailbox(address)) return violate(check, "address_invalid", "actions[%zu].address: %s: not a mailbox (RFC 5321 §4.1.2)", index, shown(check, field));
    if (!check->utf8 && !is_ascii(address.data, address.length))
        return violate(check, "address_invalid", "actions[%zu].address: %s: not ASCII, and the session has no SMTPUTF8", index, shown(check, field));
    return true;
}

static bool apply(struct check *check, json *actions) {
    json *transaction = member(check->event, "transaction"), *fields = member(transaction, "headers"), *recipients = member(transaction, "recipients");
    check->knows_headers = is_array(fields);
    check->knows_recipients = is_array(recipients);
    if (check->knows_headers) {
        check->header_count = json_object_array_length(fields);
        check->headers = arena_make(&check->arena, check->header_count * sizeof *check->headers);
        for (size_t index = 0; index < check->header_count; index++) {
            json *field = json_object_array_get_idx(fields, index);
            check->headers[index].id = json_object_get_int64(member(field, "id"));
            check->headers[index].name = arena_bytes(&check->arena, member(field, "name"));
            check->headers[index].value = arena_bytes(&check->arena, member(field, "value"));
        }
    }
    if (check->knows_recipients) {
        check->recipient_count = json_object_array_length(recipients);
        check->recipients = arena_make(&check->arena, check->recipient_count * sizeof *check->recipients);
        for (size_t index = 0; index < check->recipient_count; index++)
            check->recipients[index] = json_object_get_int64(member(json_object_array_get_idx(recipients, index), "id"));
    }
    bool is_rcpt = !strcmp(check->hook->name, "rcpt"), has_removed = false;
    if (is_rcpt) check->candidate = json_object_get_int64(member(member(member(check->event, "args"), "recipient"), "id"));
    for (size_t index = 0; index < json_object_array_length(actions); index++) {
        json *action = json_object_array_get_idx(actions, index), *op = member(action, "op");
        const char *word = string_of(op);
        if (is_word(op, "message.replace")) {
            check->knows_headers = false;
            check->header_count = 0;
            check->is_replaced = true;
        } else if (!strncmp(word, "header.", 7)) {
            if (!apply_header(check, action, op, index)) return false;
        } else if (!strncmp(word, "recipient.", 10)) {
            if (!apply_recipient(check, action, op, index)) return false;
        }
        if (is_word(op, "recipient.add") || is_word(op, "recipient.replace") || is_word(op, "sender.replace")) {
            if (!check_address(check, member(action, "address"), is_word(op, "sender.replace"), index)) return false;
        }
        has_removed |= is_word(op, "recipient.remove");
    }
    if (has_removed && !is_rcpt && check->knows_recipients && !check->recipient_count && !check->added_recipient)
        return violate(check, "no_recipients", "actions: no recipient is left");
    return true;
}

static bool has_smtputf8(json *event) {
    json *sender = member(member(event, "transaction"), "sender");
    if (!sender) sender = member(member(event, "args"), "sender");
    json *params = member(sender, "params");
    for (size_t index = 0; is_array(params) && index < json_object_array_length(params); index++) {
        json *pair = json_object_array_get_idx(params, index);
        if (is_array(pair) && is_word(json_object_array_get_idx(pair, 0), "SMTPUTF8")) return true;
    }
    return false;
}

static bool meaning(struct check *check) {
    json *hook = member(check->verdict, "hook"), *own = member(check->event, "hook"), *actions = member(check->verdict, "actions");
    int word = word_named(member(check->verdict, "verdict"));
    check->hook = hook_named(own);
    if (hook && !(is_string(hook) && json_object_equal(hook, own))) {
        check->hook = is_string(hook) && member(member(check->event, "ahead"), string_of(hook)) ? hook_named(hook) : NULL;
        if (!check->hook) return violate(check, "hook_not_reached", "hook: %s: not the event's, and not ahead of it", shown(check, hook));
    }
    if (!check->hook || !(check->hook->verdicts >> word & 1))
        return violate(check, "verdict_not_allowed", "verdict: \"%s\": not at %s", WORDS[word], check->hook ? check->hook->name : shown(check, own));
    check->utf8 = has_smtputf8(check->event);
    if (!meaning_of_reply(check, member(check->verdict, "reply"), word, "reply")) return false;
    if (!meaning_of_notes(check, member(check->verdict, "notes"))) return false;
    bool has_actions = actions && json_object_array_length(actions);
    if (has_actions && !meaning_of_fields(check, actions)) return false;
    if (!strcmp(check->hook->name, "auth") && !meaning_of_challenge(check, word, actions)) return false;
    return !has_actions || apply(check, actions);
}

const char *gp_check(json *event, json *verdict, char *message, size_t size) {
    struct check check = {.event = event, .verdict = verdict, .message = message, .size = message ? size : 0};
    if (check.size) message[0] = 0;
    if (form(&check)) meaning(&check);
    arena_free(&check.arena);
    return check.violation;
}

/* Workers and events */

struct registration {
    const struct hook *hook;
    char *plugin;
    gp_handler handler;
    void *context;
    unsigned flags;
};

struct watch {
    int fd;
    short events;
    void (*function)(int, short, void *);
    void *context;
};

struct timer {
    int64_t due;
    void (*function)(void *);
    void *context;
};

/* A socket of a frontend, and the connection to it while there is one. */
struct link {
    char *path;
    int fd; /* -1 without a connection */
    gp_connection *connection;
    struct buffer unsent;
    size_t sent;
    int64_t due, backoff, welcome_by, close_by;
    bool is_greeted, is_ending, is_gone;
    struct link *next;
};

struct gp_worker {
    char *name, *pool, *folder, *version, *instance;
    int concurrency, look_every_ms, drain_timeout_ms;
    size_t max_frame;
    void (*log)(enum gp_level, const char *, void *);
    void *log_context;
    struct registration *registrations;
    size_t registration_count;
    bool is_broken, is_stopping, has_said_ready, is_running;
    struct link *links;
    struct watch *watches;
    struct timer *timers;
    size_t watch_count, timer_count;
    int64_t look_due, drain_by;
};

struct gp_event {
    gp_connection *connection; /* NULL once the answer is not awaited any more */
    gp_worker *worker;
    json *raw, *reply, *actions, *trace, *notes[2], *patches[2];
    const struct hook *hook;
    int64_t id, extended, began_ms, step_us;
    size_t at; /* the registration that has the event now */
    int ends[LIMIT_TRACE];
    bool is_notification, is_started, is_cancelled, is_running, is_later, is_early;
    gp_verdict early;
    char *failure, *cancel_reason;
    const char *missing;
    struct arena arena;
    void (*on_cancel)(gp_event *, void *);
    void *cancel_context;
    gp_event *next;
};

struct gp_connection {
    gp_worker *worker;
    struct buffer in, out;
    size_t searched, peer_max_frame, outstanding_count, concurrency;
    bool is_welcomed, is_closed, has_sent_drain, has_got_drain;
    char *out_folder, *close_reason, *frontend;
    int64_t retry_ms;
    gp_event *outstanding; /* in the order in which they came */
    void (*on_outgoing)(void *);
    void *outgoing_context;
};

static void say(gp_worker *worker, enum gp_level level, const char *format, ...) GP_PRINTF(3, 4);
static void say(gp_worker *worker, enum gp_level level, const char *format, ...) {
    static const char *const words[] = {"INFO", "WARNING", "ERROR"};
    va_list arguments;
    va_start(arguments, format);
    char *text = formatted(format, arguments);
    va_end(arguments);
    if (worker && worker->log) {
        worker->log(level, text, worker->log_context);
    } else {
        for (char *at = text; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == 0x7f) *at = '?';
        fprintf(stderr, "%s gatepost: %s\n", words[level], text);
    }
    free(text);
}

static bool is_name(const char *name, const char *set, size_t longest) {
    size_t length = strspn(name, set);
    return length && length <= longest && !name[length];
}

gp_worker *gp_worker_new(const char *name, const gp_options *given) {
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    static const char any[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    gp_options options = given ? *given : (gp_options){0};
    gp_worker log_only = {.log = options.log, .log_context = options.log_context};
    const char *pool = options.pool ? options.pool : "policy", *wrong = NULL;
    if (!name || !is_name(name, any, LIMIT_WORKER_NAME)) wrong = "a worker's name is [A-Za-z0-9._-]{1,64}";
    else if (!is_name(pool, lower, LIMIT_POOL_NAME) || pool[0] == '_' || pool[0] == '-') wrong = "a pool's name is [a-z0-9][a-z0-9_-]{0,63}";
    else if (options.concurrency < -1 || options.concurrency > LIMIT_CONCURRENCY) wrong = "concurrency is 1 to 65535, or -1 for none";
    else if (options.max_frame && (options.max_frame < LIMIT_LEAST_MAX_FRAME || options.max_frame > LIMIT_MOST_MAX_FRAME)) wrong = "max_frame is 65536 to 16777216";
    else if ((options.version && !is_utf8(options.version, strlen(options.version))) || (options.instance && !is_utf8(options.instance, strlen(options.instance)))) wrong = "version and instance are UTF-8";
    if (wrong) {
        say(&log_only, GP_ERROR, "gp_worker_new: %s", wrong);
        return NULL;
    }
    gp_worker *worker = make(sizeof *worker);
    const char *base = options.runtime_directory ? options.runtime_directory : getenv("GATEPOST_RUNTIME_DIRECTORY");
    worker->name = copied(name, strlen(name));
    worker->pool = copied(pool, strlen(pool));
    worker->folder = text_of("%s/pools/%s", base && *base ? base : "var/run", pool);
    worker->version = options.version ? copied(options.version, strlen(options.version)) : NULL;
    worker->instance = options.instance ? copied(options.instance, strlen(options.instance)) : NULL;
    worker->concurrency = options.concurrency == 0 ? 1 : options.concurrency < 0 ? 0 : options.concurrency;
    worker->max_frame = options.max_frame ? options.max_frame : LIMIT_SDK_MAX_FRAME;
    worker->look_every_ms = options.look_every_ms > 0 ? options.look_every_ms : 1000;
    worker->drain_timeout_ms = options.drain_timeout_ms > 0 ? options.drain_timeout_ms : 60000;
    worker->log = options.log;
    worker->log_context = options.log_context;
    return worker;
}

static void link_free(struct link *link) {
    if (link->fd >= 0) close(link->fd);
    gp_connection_free(link->connection);
    free(link->unsent.data);
    free(link->path);
    free(link);
}

void gp_worker_free(gp_worker *worker) {
    if (!worker) return;
    while (worker->links) {
        struct link *next = worker->links->next;
        link_free(worker->links);
        worker->links = next;
    }
    for (size_t index = 0; index < worker->registration_count; index++) free(worker->registrations[index].plugin);
    free(worker->registrations);
    free(worker->watches);
    free(worker->timers);
    free(worker->name);
    free(worker->pool);
    free(worker->folder);
    free(worker->version);
    free(worker->instance);
    free(worker);
}

int gp_hook_as(gp_worker *worker, const char *name, const char *plugin, gp_handler handler, void *context, unsigned flags) {
    if (!worker) return -1;
    const struct hook *hook = NULL;
    for (size_t index = 0; name && index < COUNT(HOOKS); index++)
        if (!strcmp(HOOKS[index].name, name)) hook = &HOOKS[index];
    const char *wrong = NULL;
    if (!hook) wrong = "there is no such hook";
    else if (!handler) wrong = "no function";
    else if (!plugin || !is_utf8(plugin, strlen(plugin)) || !*plugin || characters(plugin, strlen(plugin)) > LIMIT_SHORT_TEXT) wrong = "a plugin's name is 1 to 128 characters";
    else if ((flags & (GP_FUTURERELEASE | GP_MT_PRIORITY)) && (strcmp(name, "queue") || flags & GP_OBSERVE)) wrong = "extensions are for a handler that is asked at queue";
    for (size_t index = 0; !wrong && index < worker->registration_count; index++)
        if (worker->registrations[index].hook == hook && (worker->registrations[index].flags ^ flags) & GP_OBSERVE)
            wrong = "a hook is either observed or decided by one worker";
    size_t of_hook = 0;
    for (size_t index = 0; index < worker->registration_count; index++) of_hook += worker->registrations[index].hook == hook;
    if (!wrong && of_hook >= LIMIT_TRACE) wrong = "more than 256 handlers";
    if (wrong) {
        worker->is_broken = true;
        say(worker, GP_ERROR, "gp_hook %s: %s", name ? name : "NULL", wrong);
        return -1;
    }
    worker->registrations = grown(worker->registrations, worker->registration_count + 1, sizeof *worker->registrations);
    worker->registrations[worker->registration_count++] =
        (struct registration){hook, copied(plugin, strlen(plugin)), handler, context, flags};
    return 0;
}

static const struct registration *handler_of(const gp_worker *worker, const struct hook *hook, size_t from, size_t *at) {
    for (size_t index = from; index < worker->registration_count; index++)
        if (worker->registrations[index].hook == hook) {
            if (at) *at = index;
            return &worker->registrations[index];
        }
    return NULL;
}

static json *hello_of(const gp_worker *worker) {
    json *hello = new_object(), *range = new_array(), *about = new_object(), *plugins = new_array(), *hooks = new_object();
    put(hello, "type", new_string("hello"));
    append(range, new_integer(PROTOCOL));
    append(range, new_integer(PROTOCOL));
    put(hello, "protocol", range);
    put(hello, "pool", new_string(worker->pool));
    put(about, "name", new_string(worker->name));
    put(about, "sdk", new_string("gatepost-c/0.1.0"));
    put(about, "pid", new_integer(getpid()));
    if (worker->version) put(about, "version", for_people(worker->version, LIMIT_SHORT_TEXT));
    if (worker->instance) put(about, "instance", for_people(worker->instance, LIMIT_SHORT_TEXT));
    put(hello, "worker", about);
    put(hello, "concurrency", new_integer(worker->concurrency));
    put(hello, "max_frame", new_integer((int64_t)worker->max_frame));
    put(hello, "violations", new_boolean(true));
    unsigned extensions = 0;
    for (size_t hook = 0; hook < COUNT(HOOKS); hook++) {
        unsigned any = 0, all = ~0u;
        for (size_t index = 0; index < worker->registration_count; index++) {
            if (worker->registrations[index].hook != &HOOKS[hook]) continue;
            any |= worker->registrations[index].flags;
            all &= worker->registrations[index].flags;
        }
        if (!handler_of(worker, &HOOKS[hook], 0, NULL)) continue;
        json *said = new_object(), *needs = new_array();
        for (size_t need = 0; need < COUNT(NEEDS); need++)
            if (any >> need & 1) append(needs, new_string(NEEDS[need]));
        if (json_object_array_length(needs)) put(said, "needs", needs);
        else json_object_put(needs);
        if (any & GP_OBSERVE) put(said, "observe", new_boolean(true));
        if (all & GP_IDEMPOTENT) put(said, "idempotent", new_boolean(true));
        put(hooks, HOOKS[hook].name, said);
        if (!strcmp(HOOKS[hook].name, "queue")) extensions = all;
    }
    for (size_t index = 0; index < worker->registration_count; index++) {
        bool is_there = false;
        for (size_t other = 0; other < index && !is_there; other++)
            is_there = !strcmp(worker->registrations[other].plugin, worker->registrations[index].plugin);
        if (!is_there) append(plugins, new_string(worker->registrations[index].plugin));
    }
    put(hello, "plugins", plugins);
    if (extensions & (GP_FUTURERELEASE | GP_MT_PRIORITY)) {
        json *words = new_array();
        for (size_t index = 0; index < COUNT(EXTENSIONS); index++)
            if (extensions & (GP_FUTURERELEASE << index)) append(words, new_string(EXTENSIONS[index]));
        put(hello, "extensions", words);
    }
    put(hello, "hooks", hooks);
    return hello;
}

/* Connections */

static void tell(gp_connection *connection) {
    if (connection->on_outgoing) connection->on_outgoing(connection->outgoing_context);
}

static void put_line(gp_connection *connection, json *message) {
    size_t length;
    const char *line = written(message, &length);
    add(&connection->out, line, length);
    add(&connection->out, "\n", 1);
    json_object_put(message);
}

static json *message_of(const char *type) {
    json *message = new_object();
    put(message, "type", new_string(type));
    return message;
}

static void put_error(gp_connection *connection, int64_t id, const char *code, bool started, const char *plugin, const char *text) {
    json *message = message_of("error");
    put(message, "id", new_integer(id));
    put(message, "code", new_string(code));
    put(message, "started", new_boolean(started));
    if (plugin) put(message, "plugin", new_string(plugin));
    if (text && *text) put(message, "message", for_people(text, LIMIT_FREE_TEXT));
    put_line(connection, message);
}

static void close_with(gp_connection *connection, const char *code, const char *text) {
    if (connection->is_closed) return;
    connection->is_closed = true;
    free(connection->close_reason);
    connection->close_reason = text ? text_of("%s: %s", code, text) : text_of("%s", code);
    json *message = message_of("bye");
    put(message, "code", new_string(code));
    if (text) put(message, "message", for_people(text, LIMIT_FREE_TEXT));
    put_line(connection, message);
}

static void leave_if_done(gp_connection *connection) {
    if (connection->has_sent_drain && connection->has_got_drain && !connection->outstanding) close_with(connection, "drained", NULL);
}

static void drain(gp_connection *connection, const char *reason) {
    if (connection->is_closed) return;
    if (!connection->is_welcomed) {
        close_with(connection, "stopping", NULL);
    } else if (!connection->has_sent_drain) {
        connection->has_sent_drain = true;
        json *message = message_of("drain");
        put(message, "reason", for_people(reason, LIMIT_SHORT_TEXT));
        put_line(connection, message);
        leave_if_done(connection);
    }
}

static gp_event *event_with(gp_connection *connection, int64_t id) {
    for (gp_event *event = connection->outstanding; event; event = event->next)
        if (event->id == id) return event;
    return NULL;
}

/* The event's answer is not awaited any more. */
static void detach(gp_event *event) {
    gp_connection *connection = event->connection;
    if (!connection) return;
    for (gp_event **at = &connection->outstanding; *at; at = &(*at)->next)
        if (*at == event) {
            *at = event->next;
            connection->outstanding_count--;
            break;
        }
    event->connection = NULL;
    event->next = NULL;
}

static void event_free(gp_event *event) {
    detach(event);
    json_object_put(event->raw);
    json_object_put(event->reply);
    json_object_put(event->actions);
    json_object_put(event->trace);
    json_object_put(event->notes[0]);
    json_object_put(event->notes[1]);
    json_object_put(event->patches[0]);
    json_object_put(event->patches[1]);
    free(event->failure);
    free(event->cancel_reason);
    arena_free(&event->arena);
    free(event);
}

/* Tells the author, who may answer in this call: the event may be gone afterwards. */
static void call_off(gp_event *event, const char *reason) {
    if (!event->is_cancelled) {
        event->is_cancelled = true;
        event->cancel_reason = copied(reason, strlen(reason));
    }
    void (*function)(gp_event *, void *) = event->on_cancel;
    event->on_cancel = NULL;
    if (function && event->is_later) function(event, event->cancel_context);
}

/* `error` instead of a verdict; the event stays the author's if its handler said GP_LATER. */
static void fail_with(gp_event *event, const char *code, bool started, const char *plugin, const char *text) {
    gp_connection *connection = event->connection;
    if (!connection) return;
    detach(event);
    put_error(connection, event->id, code, started, plugin, text);
    leave_if_done(connection);
}

gp_connection *gp_connection_new(gp_worker *worker) {
    gp_connection *connection = make(sizeof *connection);
    connection->worker = worker;
    connection->peer_max_frame = LIMIT_HANDSHAKE_FRAME;
    connection->concurrency = (size_t)worker->concurrency;
    put_line(connection, hello_of(worker));
    return connection;
}

void gp_connection_lost(gp_connection *connection) {
    connection->is_closed = true;
    while (connection->outstanding) {
        gp_event *event = connection->outstanding;
        detach(event);
        if (event->is_later) call_off(event, "disconnected");
        else if (!event->is_running) event_free(event);
    }
}

void gp_connection_free(gp_connection *connection) {
    if (!connection) return;
    gp_connection_lost(connection);
    free(connection->in.data);
    free(connection->out.data);
    free(connection->out_folder);
    free(connection->close_reason);
    free(connection->frontend);
    free(connection);
}

bool gp_connection_closed(const gp_connection *connection) { return connection->is_closed; }
const char *gp_connection_close_reason(const gp_connection *connection) { return connection->close_reason; }
size_t gp_connection_outstanding(const gp_connection *connection) { return connection->outstanding_count; }
void gp_connection_drain(gp_connection *connection) { drain(connection, "stopping"); }

char *gp_connection_take(gp_connection *connection, size_t *length) {
    char *octets = connection->out.length ? connection->out.data : NULL;
    *length = connection->out.length;
    if (octets) connection->out = (struct buffer){0};
    return octets;
}

/* A little less than the frontend waits, so that the answer comes in time. */
static int64_t due_of(const gp_event *event) {
    int64_t allowed = json_object_get_int64(member(event->raw, "deadline_ms")) + event->extended, less = allowed / 20;
    return event->began_ms + allowed - (less < 250 ? less : 250);
}

int64_t gp_connection_tick(gp_connection *connection) {
    int64_t now = now_ms(), next = INT64_MAX;
    for (gp_event *event = connection->outstanding; event;) {
        int64_t due = due_of(event);
        if (!event->is_later || due > now) {
            if (event->is_later && due < next) next = due;
            event = event->next;
            continue;
        }
        char *text = text_of("%s took longer than its deadline", event->hook->name);
        say(connection->worker, GP_ERROR, "%s: %s", connection->worker->registrations[event->at].plugin, text);
        fail_with(event, "deadline", true, connection->worker->registrations[event->at].plugin, text);
        free(text);
        call_off(event, "deadline");
        event = connection->outstanding; /* the author's function may have answered others */
    }
    return next == INT64_MAX ? -1 : next - now;
}

/* Asking */

static const char *author_of(gp_event *event, const char *place) {
    size_t count = json_object_array_length(event->trace), index = 0;
    if (!strncmp(place, "actions[", 8)) {
        long action = strtol(place + 8, NULL, 10);
        while (index + 1 < count && action >= event->ends[index]) index++;
    } else if (count) {
        index = count - 1;
    }
    return count ? string_of(member(json_object_array_get_idx(event->trace, index), "plugin")) : "no plugin";
}

/* The merge patch (RFC 7396) that makes `after` of `before`. */
static json *patch_of(json *before, json *after) {
    json *patch = new_object();
    if (is_object(before)) {
        json_object_object_foreach(before, key, old) {
            if (old && !json_object_object_get_ex(after, key, NULL)) put(patch, key, NULL);
        }
    }
    json_object_object_foreach(after, name, value) {
        json *old = member(before, name);
        if (!value) {
            if (old) put(patch, name, NULL);
        } else if (!old || !json_object_equal(old, value)) {
            put(patch, name, is_object(value) ? patch_of(old, value) : copy_of(value));
        }
    }
    return patch;
}

static bool is_replaced(gp_event *event) {
    return json_object_array_length(event->actions) && is_word(member(json_object_array_get_idx(event->actions, 0), "op"), "message.replace");
}

static void finish(gp_event *event, gp_verdict verdict) {
    gp_connection *connection = event->connection;
    size_t asked = json_object_array_length(event->trace);
    const char *plugin = asked ? string_of(member(json_object_array_get_idx(event->trace, asked - 1), "plugin")) : NULL;
    if (!connection) {
        event_free(event);
        return;
    }
    json *message = message_of("verdict"), *notes = new_object();
    put(message, "id", new_integer(event->id));
    put(message, "verdict", new_string(WORDS[verdict]));
    if (verdict != GP_DECLINED && plugin) put(message, "plugin", new_string(plugin));
    if (event->reply) put(message, "reply", json_object_get(event->reply));
    for (int scope = 0; scope < 2; scope++) {
        const char *name = scope ? "transaction" : "session";
        json *patch = event->notes[scope] ? patch_of(member(member(event->raw, "notes"), name), event->notes[scope]) : new_object();
        if (event->patches[scope]) {
            json_object_object_foreach(event->patches[scope], key, value) put(patch, key, json_object_get(value));
        }
        if (json_object_object_length(patch)) put(notes, name, patch);
        else json_object_put(patch);
    }
    if (json_object_object_length(notes)) put(message, "notes", notes);
    else json_object_put(notes);
    if (json_object_array_length(event->actions)) put(message, "actions", json_object_get(event->actions));
    if (asked) put(message, "trace", json_object_get(event->trace));
    char where[512], *wrong = NULL;
    const char *rule = gp_check(event->raw, message, where, sizeof where), *why;
    size_t length;
    const char *line = written(message, &length);
    if (rule) {
        wrong = text_of("%s at %s: %s: %s", author_of(event, where), event->hook->name, rule, where);
    } else if (length + 1 > connection->peer_max_frame) {
        wrong = text_of("%s at %s: the verdict has %zu octets, the frontend takes %zu", plugin ? plugin : "no plugin", event->hook->name, length + 1, connection->peer_max_frame);
    } else {
        json *read = gp_parse(line, length, &why);
        if (!read) wrong = text_of("%s at %s: the verdict is no line of the protocol: %s", plugin ? plugin : "no plugin", event->hook->name, why);
        json_object_put(read);
    }
    if (wrong) {
        say(connection->worker, GP_ERROR, "an invalid verdict is not sent: %s", wrong);
        fail_with(event, "invalid_verdict", true, plugin, wrong);
    } else {
        detach(event);
        add(&connection->out, line, length);
        add(&connection->out, "\n", 1);
        leave_if_done(connection);
    }
    free(wrong);
    json_object_put(message);
    event_free(event);
}

/* True if the next handler is to be asked; else the event is answered, and gone. */
static bool settle(gp_event *event, gp_verdict verdict) {
    const struct registration *asked = &event->worker->registrations[event->at];
    gp_worker *worker = event->worker;
    if (event->missing && !event->failure)
        event->failure = text_of("%s is not in the event: name it in the handler's flags, or it did not fit", event->missing);
    if (event->failure || verdict == GP_FAIL) {
        const char *text = event->failure ? event->failure : "the handler failed";
        say(worker, GP_ERROR, "%s: failed at %s: %s", asked->plugin, event->hook->name, text);
        if (event->is_notification) {
            free(event->failure);
            event->failure = NULL;
            event->missing = NULL;
            return true;
        }
        fail_with(event, "exception", true, asked->plugin, text);
        event_free(event);
        return false;
    }
    if (event->is_notification) return true;
    if ((int)verdict < 0 || (size_t)verdict >= COUNT(WORDS)) {
        char *text = text_of("%s at %s: unknown_verdict: %d is none", asked->plugin, event->hook->name, (int)verdict);
        say(worker, GP_ERROR, "an invalid verdict is not sent: %s", text);
        fail_with(event, "invalid_verdict", true, asked->plugin, text);
        free(text);
        event_free(event);
        return false;
    }
    size_t index = json_object_array_length(event->trace);
    json *entry = new_object();
    put(entry, "plugin", new_string(asked->plugin));
    put(entry, "verdict", new_string(WORDS[verdict]));
    put(entry, "us", new_integer(now_us() - event->step_us));
    append(event->trace, entry);
    event->ends[index] = (int)json_object_array_length(event->actions);
    if (verdict == GP_DECLINED && !event->reply) return true;
    finish(event, verdict);
    return false;
}

/* Asks the handlers from `from` on, in order, until one does not decline. */
static void ask(gp_event *event, size_t from) {
    while (!event->is_cancelled) {
        const struct registration *next = handler_of(event->worker, event->hook, from, &event->at);
        if (!next) break;
        from = event->at + 1;
        event->step_us = now_us();
        event->is_started = event->is_running = true;
        event->is_early = false;
        gp_verdict verdict = next->handler(event, next->context);
        event->is_running = false;
        if (verdict == GP_LATER) {
            if (!event->is_early) {
                event->is_later = true;
                return;
            }
            verdict = event->early;
        }
        event->on_cancel = NULL;
        if (!settle(event, verdict)) return;
    }
    if (event->is_notification) event_free(event);
    else finish(event, GP_DECLINED);
}

void gp_answer(gp_event *event, gp_verdict verdict) {
    if (event->is_running) {
        event->is_early = true;
        event->early = verdict == GP_LATER ? GP_FAIL : verdict;
        return;
    }
    if (!event->is_later) return;
    event->is_later = false;
    event->on_cancel = NULL;
    gp_connection *connection = event->connection;
    if (!connection && !event->is_notification) {
        event_free(event);
        return;
    }
    if (verdict == GP_LATER) verdict = GP_FAIL;
    if (settle(event, verdict)) ask(event, event->at + 1);
    if (connection) tell(connection);
}

static gp_event *event_new(gp_worker *worker, gp_connection *connection, const struct hook *hook, json *message) {
    gp_event *event = make(sizeof *event);
    event->worker = worker;
    event->hook = hook;
    event->raw = json_object_get(message);
    event->actions = new_array();
    event->trace = new_array();
    event->began_ms = now_ms();
    event->is_notification = !connection;
    if (!connection) return event;
    event->connection = connection;
    event->id = json_object_get_int64(member(message, "id"));
    gp_event **last = &connection->outstanding;
    while (*last) last = &(*last)->next;
    *last = event;
    connection->outstanding_count++;
    return event;
}

/* What handlers of queue need and did not get: they must not store a message without it. */
static const char *missing_at_queue(gp_worker *worker, const struct hook *hook, json *message) {
    json *elided = member(message, "elided");
    if (strcmp(hook->name, "queue") || !is_array(elided)) return NULL;
    for (size_t part = 0; part < json_object_array_length(elided); part++)
        for (size_t need = 0; need < COUNT(NEEDS); need++)
            for (size_t index = 0; index < worker->registration_count; index++)
                if (worker->registrations[index].hook == hook && worker->registrations[index].flags >> need & 1
                    && is_word(json_object_array_get_idx(elided, part), NEEDS[need]))
                    return NEEDS[need];
    return NULL;
}

static void read_event(gp_connection *connection, json *message) {
    gp_worker *worker = connection->worker;
    json *id = member(message, "id"), *name = member(message, "hook");
    if (!is_integer(id, 1) || !is_string(name)) {
        close_with(connection, "bad_message", "an event without an id or a hook");
        return;
    }
    int64_t number = json_object_get_int64(id);
    const struct hook *hook = hook_named(name);
    if (event_with(connection, number)) {
        close_with(connection, "bad_message", "the id of an event twice");
    } else if (connection->outstanding_count >= connection->concurrency) {
        put_error(connection, number, "overloaded", false, NULL, "more events than concurrency allows");
    } else if (!hook || !handler_of(worker, hook, 0, NULL)) {
        put_error(connection, number, "not_subscribed", false, NULL, string_of(name));
    } else if (!is_object(member(message, "session")) || !is_object(member(message, "args")) || !is_object(member(message, "notes")) || !is_integer(member(message, "deadline_ms"), 0)) {
        put_error(connection, number, "bad_event", true, NULL, "session, args, notes or deadline_ms");
    } else if (missing_at_queue(worker, hook, message)) {
        char *text = text_of("%s did not fit into the event", missing_at_queue(worker, hook, message));
        say(worker, GP_ERROR, "queue %s: %s", string_of(member(message, "key")), text);
        put_error(connection, number, "incomplete_event", false, NULL, text);
        free(text);
    } else {
        ask(event_new(worker, connection, hook, message), 0);
    }
}

static void read_violation(gp_connection *connection, json *message) {
    if (!is_integer(member(message, "id"), 1) || !is_string(member(message, "hook")) || !is_string(member(message, "violation")) || !is_string(member(message, "message"))) {
        close_with(connection, "bad_message", "violation without id, hook, violation or message");
        return;
    }
    const char *plugin = string_of(member(message, "plugin"));
    say(connection->worker, GP_ERROR, "the frontend did not take the answer to event %" PRId64 ": %s%s%s: %s: %s",
        json_object_get_int64(member(message, "id")), plugin, *plugin ? " at " : "", string_of(member(message, "hook")),
        string_of(member(message, "violation")), string_of(member(message, "message")));
}

static void read_welcome(gp_connection *connection, json *message) {
    if (!is_integer(member(message, "protocol"), PROTOCOL) || json_object_get_int64(member(message, "protocol")) != PROTOCOL
        || !is_integer(member(message, "max_frame"), LIMIT_LEAST_MAX_FRAME)) {
        close_with(connection, "bad_message", "welcome without protocol 1 or max_frame");
        return;
    }
    connection->is_welcomed = true;
    connection->peer_max_frame = (size_t)json_object_get_int64(member(message, "max_frame"));
    if (is_integer(member(message, "concurrency"), 0)) connection->concurrency = (size_t)json_object_get_int64(member(message, "concurrency"));
    if (is_string(member(message, "spool"))) connection->out_folder = text_of("%s/out/%s", string_of(member(message, "spool")), connection->worker->pool);
    const char *id = string_of(member(member(message, "frontend"), "id"));
    connection->frontend = copied(id, strlen(id));
}

static void read_message(gp_connection *connection, json *message) {
    const char *type = string_of(member(message, "type"));
    char side = 0;
    for (size_t index = 0; index < COUNT(MESSAGES); index++)
        if (!strcmp(MESSAGES[index].type, type)) side = MESSAGES[index].side;
    bool is_handshake = !strcmp(type, "welcome") || !strcmp(type, "reject");
    if (!side) {
        close_with(connection, "unknown_type", "no type that version 1 has");
    } else if (!strcmp(type, "bye") || (!connection->is_welcomed && !strcmp(type, "reject"))) {
        connection->is_closed = true;
        free(connection->close_reason);
        connection->close_reason = text_of("the frontend said %s: %s: %s", type, string_of(member(message, "code")), string_of(member(message, "message")));
        if (is_integer(member(message, "retry_ms"), 0)) connection->retry_ms = json_object_get_int64(member(message, "retry_ms"));
        if (connection->retry_ms > LONGEST_RETRY_MS) connection->retry_ms = LONGEST_RETRY_MS;
    } else if (side == 'w' || is_handshake == connection->is_welcomed) {
        char *text = text_of("%s %s the welcome", type, connection->is_welcomed ? "after" : "before");
        close_with(connection, "unexpected_message", text);
        free(text);
    } else if (is_handshake) {
        read_welcome(connection, message);
    } else if (!strcmp(type, "event")) {
        read_event(connection, message);
    } else if (!strcmp(type, "notify")) {
        const struct hook *hook = hook_named(member(message, "hook"));
        if (hook && handler_of(connection->worker, hook, 0, NULL) && is_object(member(message, "args")))
            ask(event_new(connection->worker, NULL, hook, message), 0);
    } else if (!strcmp(type, "cancel")) {
        if (!is_integer(member(message, "id"), 1)) {
            close_with(connection, "bad_message", "cancel without an id");
            return;
        }
        int64_t id = json_object_get_int64(member(message, "id"));
        gp_event *event = event_with(connection, id);
        if (!event) return;
        call_off(event, string_of(member(message, "reason")));
        event = event_with(connection, id); /* unless it was answered just now */
        if (event) fail_with(event, "cancelled", event->is_started, NULL, event->cancel_reason);
    } else if (!strcmp(type, "ping")) {
        json *n = member(message, "n");
        if (!is_integer(n, -LIMIT_INTEGER)) {
            close_with(connection, "bad_message", "ping without n");
            return;
        }
        json *pong = message_of("pong");
        put(pong, "n", json_object_get(n));
        put_line(connection, pong);
    } else if (!strcmp(type, "drain")) {
        const char *reason = string_of(member(message, "reason"));
        connection->has_got_drain = true;
        drain(connection, *reason ? reason : "draining");
        leave_if_done(connection);
    } else if (!strcmp(type, "violation")) {
        read_violation(connection, message);
    }
}

static void read_line(gp_connection *connection, const char *line, size_t length) {
    if (length >= connection->worker->max_frame) {
        close_with(connection, "frame_too_long", "a line longer than max_frame");
        return;
    }
    const char *why;
    json *message = gp_parse(line, length, &why);
    if (message) read_message(connection, message);
    else close_with(connection, "bad_frame", why);
    json_object_put(message);
}

void gp_connection_feed(gp_connection *connection, const char *octets, size_t length) {
    /* Never holds more than one line: what is longer than max_frame is refused before it is read whole. */
    while (length && !connection->is_closed) {
        const char *end = memchr(octets, '\n', length);
        size_t piece = end ? (size_t)(end - octets) : length;
        if (connection->in.length + piece >= connection->worker->max_frame) {
            close_with(connection, "frame_too_long", "a line longer than max_frame");
            return;
        }
        if (!end) {
            add(&connection->in, octets, piece);
            return;
        }
        if (connection->in.length) {
            add(&connection->in, octets, piece);
            struct buffer line = connection->in;
            connection->in = (struct buffer){0};
            read_line(connection, line.data, line.length);
            free(line.data);
        } else {
            read_line(connection, octets, piece);
        }
        octets += piece + 1;
        length -= piece + 1;
    }
}

/* Events: what is asked */

const char *gp_event_hook(const gp_event *event) { return event->hook->name; }
const char *gp_event_key(const gp_event *event) { return string_of(member(event->raw, "key")); }
int64_t gp_event_id(const gp_event *event) { return event->id; }
json *gp_event_raw(const gp_event *event) { return event->raw; }
bool gp_cancelled(const gp_event *event) { return event->is_cancelled; }
const char *gp_cancel_reason(const gp_event *event) { return event->cancel_reason; }

gp_verdict gp_verdict_of_word(const char *word) {
    for (size_t index = 0; word && index < COUNT(WORDS); index++)
        if (!strcmp(WORDS[index], word)) return (gp_verdict)index;
    return GP_FAIL;
}

const char *gp_word_of_verdict(gp_verdict verdict) {
    return (int)verdict >= 0 && (size_t)verdict < COUNT(WORDS) ? WORDS[verdict] : verdict == GP_LATER ? "later" : "fail";
}

json *gp_get(const gp_event *event, const char *path) {
    json *value = event->raw;
    while (value && *path) {
        size_t length = strcspn(path, ".");
        char key[128];
        if (length >= sizeof key) return NULL;
        memcpy(key, path, length);
        key[length] = 0;
        value = member(value, key);
        path += length + (path[length] == '.');
    }
    return value;
}

gp_bytes gp_get_bytes(gp_event *event, const char *path) { return arena_bytes(&event->arena, gp_get(event, path)); }

int64_t gp_get_integer(const gp_event *event, const char *path, int64_t otherwise) {
    json *value = gp_get(event, path);
    return is_integer(value, -LIMIT_INTEGER) ? json_object_get_int64(value) : otherwise;
}

bool gp_get_boolean(const gp_event *event, const char *path) {
    json *value = gp_get(event, path);
    return value && json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static json *asked(const gp_event *event) {
    json *args = member(event->raw, "args");
    bool is_outcome = !strcmp(event->hook->name, "deny") || !strcmp(event->hook->name, "ok");
    return is_outcome ? member(args, "args") : args;
}

gp_bytes gp_argument(gp_event *event, const char *name) { return arena_bytes(&event->arena, member(asked(event), name)); }
const char *gp_client_ip(gp_event *event) { return string_of(gp_get(event, "session.client.ip")); }

static gp_address address_of(gp_event *event, json *raw) {
    return (gp_address){json_object_get_int64(member(raw, "id")), arena_bytes(&event->arena, member(raw, "address")),
                        arena_bytes(&event->arena, member(raw, "local")), arena_bytes(&event->arena, member(raw, "domain")), member(raw, "params")};
}

gp_address gp_sender(gp_event *event) {
    json *sender = member(asked(event), "sender");
    return address_of(event, sender ? sender : gp_get(event, "transaction.sender"));
}

gp_address gp_recipient(gp_event *event) { return address_of(event, member(asked(event), "recipient")); }

static json *part(gp_event *event, const char *name) {
    json *value = member(member(event->raw, "transaction"), name);
    if (!value && !event->missing) event->missing = name;
    return value;
}

bool gp_has(const gp_event *event, const char *need) { return member(member(event->raw, "transaction"), need) != NULL; }

int gp_recipients(gp_event *event, const gp_address **list) {
    json *raw = part(event, "recipients");
    *list = NULL;
    if (!is_array(raw)) return -1;
    size_t count = json_object_array_length(raw);
    gp_address *found = arena_make(&event->arena, count * sizeof *found);
    for (size_t index = 0; index < count; index++) found[index] = address_of(event, json_object_array_get_idx(raw, index));
    *list = found;
    return (int)count;
}

int gp_headers(gp_event *event, const gp_header **list) {
    json *raw = part(event, "headers");
    *list = NULL;
    if (!is_array(raw)) return -1;
    size_t count = json_object_array_length(raw);
    gp_header *found = arena_make(&event->arena, count * sizeof *found);
    for (size_t index = 0; index < count; index++) {
        json *field = json_object_array_get_idx(raw, index);
        found[index] = (gp_header){json_object_get_int64(member(field, "id")), arena_bytes(&event->arena, member(field, "name")),
                                   arena_bytes(&event->arena, member(field, "space")), arena_bytes(&event->arena, member(field, "value"))};
    }
    *list = found;
    return (int)count;
}

gp_bytes gp_header_value(gp_event *event, const char *name) {
    const gp_header *list;
    int count = gp_headers(event, &list);
    gp_bytes wanted = {name, strlen(name)};
    for (int index = 0; index < count; index++) {
        if (!alike(list[index].name, wanted)) continue;
        const char *start = list[index].value.data, *end = start + list[index].value.length;
        while (start < end && is_gap(*start)) start++;
        while (end > start && is_gap(end[-1])) end--;
        return (gp_bytes){arena_copy(&event->arena, start, (size_t)(end - start)), (size_t)(end - start)};
    }
    return (gp_bytes){NULL, 0};
}

const char *gp_message_path(gp_event *event) {
    json *message = part(event, "message");
    return is_string(member(message, "path")) ? string_of(member(message, "path")) : NULL;
}

FILE *gp_open_body(gp_event *event) {
    const char *path = gp_message_path(event);
    if (!path) return NULL;
    FILE *file = fopen(path, "rbe");
    if (file && fseeko(file, (off_t)gp_get_integer(event, "transaction.message.body_offset", 0), SEEK_SET) != 0) {
        fclose(file);
        return NULL;
    }
    return file;
}

/* The header fields, then the file from the body on. */
struct stream {
    struct buffer header;
    size_t read;
    FILE *body;
};

static ssize_t stream_read(void *cookie, char *octets, size_t size) {
    struct stream *stream = cookie;
    size_t left = stream->header.length - stream->read;
    if (!left) {
        size_t count = fread(octets, 1, size, stream->body);
        return !count && ferror(stream->body) ? -1 : (ssize_t)count;
    }
    if (size > left) size = left;
    memcpy(octets, stream->header.data + stream->read, size);
    stream->read += size;
    return (ssize_t)size;
}

static int stream_close(void *cookie) {
    struct stream *stream = cookie;
    int result = fclose(stream->body);
    free(stream->header.data);
    free(stream);
    return result;
}

FILE *gp_open_message(gp_event *event) {
    const gp_header *list;
    int count = gp_headers(event, &list);
    FILE *body = count < 0 ? NULL : gp_open_body(event);
    if (!body) return NULL;
    struct stream *stream = make(sizeof *stream);
    stream->body = body;
    for (int index = 0; index < count; index++) {
        add(&stream->header, list[index].name.data, list[index].name.length);
        add(&stream->header, list[index].space.data, list[index].space.length);
        add_string(&stream->header, ":");
        add(&stream->header, list[index].value.data, list[index].value.length);
        add_string(&stream->header, "\r\n");
    }
    FILE *file = fopencookie(stream, "r", (cookie_io_functions_t){.read = stream_read, .close = stream_close});
    if (!file) stream_close(stream);
    return file;
}

int64_t gp_remaining_ms(const gp_event *event) {
    json *deadline = member(event->raw, "deadline_ms");
    if (event->is_notification || !deadline) return INT64_MAX;
    return json_object_get_int64(deadline) + event->extended - (now_ms() - event->began_ms);
}

void gp_progress(gp_event *event, int64_t extend_ms) {
    if (!event->connection || extend_ms < 1 || extend_ms > LIMIT_INTEGER - event->extended) return;
    event->extended += extend_ms;
    json *message = message_of("progress");
    put(message, "id", new_integer(event->id));
    put(message, "extend_ms", new_integer(extend_ms));
    put_line(event->connection, message);
    tell(event->connection);
}

void gp_on_cancel(gp_event *event, void (*function)(gp_event *, void *), void *context) {
    event->on_cancel = function;
    event->cancel_context = context;
}

/* Answers */

static json *reply_of(int code, const char *status, char *text) {
    json *reply = new_object();
    if (code) put(reply, "code", new_integer(code));
    if (status) put(reply, "status", new_string(status));
    if (text) {
        json *lines = new_array();
        append(lines, new_string(text));
        put(reply, "text", lines);
    }
    free(text);
    return reply;
}

static void set_reply(gp_event *event, int code, const char *status, const char *format, va_list arguments) {
    json_object_put(event->reply);
    event->reply = code || status || format ? reply_of(code, status, format ? formatted(format, arguments) : NULL) : NULL;
}

#define ANSWER(verdict)                              \
    va_list arguments;                               \
    va_start(arguments, format);                     \
    set_reply(event, code, status, format, arguments); \
    va_end(arguments);                               \
    return verdict

gp_verdict gp_deny(gp_event *event, int code, const char *status, const char *format, ...) { ANSWER(GP_DENY); }
gp_verdict gp_denysoft(gp_event *event, int code, const char *status, const char *format, ...) { ANSWER(GP_DENYSOFT); }
gp_verdict gp_done(gp_event *event, int code, const char *status, const char *format, ...) { ANSWER(GP_DONE); }
void gp_reply(gp_event *event, int code, const char *status, const char *format, ...) { ANSWER(); }

void gp_reply_line(gp_event *event, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = formatted(format, arguments);
    va_end(arguments);
    if (!event->reply) event->reply = new_object();
    json *lines = member(event->reply, "text");
    if (!lines) put(event->reply, "text", lines = new_array());
    append(lines, new_string(text));
    free(text);
}

gp_verdict gp_fail(gp_event *event, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = formatted(format, arguments);
    va_end(arguments);
    free(event->failure);
    event->failure = text;
    return GP_FAIL;
}

/* Notes */

static json *notes_of(gp_event *event, int scope) {
    const char *name = scope ? "transaction" : "session";
    if (scope && !member(event->raw, "transaction")) return NULL;
    if (!event->notes[scope]) {
        json *before = member(member(event->raw, "notes"), name);
        event->notes[scope] = is_object(before) ? copy_of(before) : new_object();
    }
    return event->notes[scope];
}

json *gp_session_notes(gp_event *event) { return notes_of(event, 0); }
json *gp_transaction_notes(gp_event *event) { return notes_of(event, 1); }

void gp_patch_notes(gp_event *event, const char *scope, json *patch) {
    int index = !strcmp(scope, "transaction");
    if (is_object(patch)) {
        if (!event->patches[index]) event->patches[index] = new_object();
        json_object_object_foreach(patch, key, value) put(event->patches[index], key, json_object_get(value));
    }
    json_object_put(patch);
}

/* Actions */

static json *name_of_header(gp_event *event, int64_t id) {
    json *fields = member(member(event->raw, "transaction"), "headers");
    for (size_t index = 0; is_array(fields) && index < json_object_array_length(fields); index++) {
        json *field = json_object_array_get_idx(fields, index);
        if (json_object_get_int64(member(field, "id")) == id) return member(field, "name");
    }
    return NULL;
}

static json *action_of(const char *op) {
    json *action = new_object();
    put(action, "op", new_string(op));
    return action;
}

static json *field_of(const char *text) { return gp_field_of_bytes(text, strlen(text)); }

/* Adds an action to the list. In the file of message.replace a field has an id that this worker does not know yet: there
   what is known by its id is known by its name. */
static void add_action(gp_event *event, json *list, json *action, bool by_name) {
    json *op = member(action, "op");
    json *name = by_name && (is_word(op, "header.set") || is_word(op, "header.delete"))
                     ? name_of_header(event, json_object_get_int64(member(action, "id"))) : NULL;
    if (!name) {
        append(list, action);
        return;
    }
    json *removal = action_of("header.delete_all");
    put(removal, "name", json_object_get(name));
    append(list, removal);
    if (is_word(op, "header.set")) {
        json *addition = action_of("header.add");
        put(addition, "name", json_object_get(name));
        put(addition, "value", json_object_get(member(action, "value")));
        put(addition, "at", new_string("top"));
        append(list, addition);
    }
    json_object_put(action);
}

void gp_action(gp_event *event, json *action) {
    if (!is_word(member(action, "op"), "message.replace")) {
        add_action(event, event->actions, action, is_replaced(event));
        return;
    }
    json *list = new_array();
    append(list, action);
    int shift = 1;
    for (size_t index = 0; index < json_object_array_length(event->actions); index++) {
        json *other = json_object_array_get_idx(event->actions, index);
        if (is_word(member(other, "op"), "message.replace")) shift = 0;
        else add_action(event, list, json_object_get(other), true);
    }
    for (size_t index = 0; index < json_object_array_length(event->trace); index++) event->ends[index] += shift;
    json_object_put(event->actions);
    event->actions = list;
}

static json *legal_field(gp_event *event, const char *value, size_t name_octets) {
    char *legal = gp_legal_value(value, name_octets, has_smtputf8(event->raw));
    json *field = field_of(legal);
    free(legal);
    return field;
}

static void add_header(gp_event *event, const char *name, const char *value, const char *at) {
    json *action = action_of("header.add");
    put(action, "name", field_of(name));
    put(action, "value", legal_field(event, value, strlen(name)));
    put(action, "at", new_string(at));
    gp_action(event, action);
}

void gp_add_header(gp_event *event, const char *name, const char *value) { add_header(event, name, value, "top"); }
void gp_add_header_bottom(gp_event *event, const char *name, const char *value) { add_header(event, name, value, "bottom"); }

void gp_set_header(gp_event *event, int64_t id, const char *value) {
    json *action = action_of("header.set");
    json *name = name_of_header(event, id);
    put(action, "id", new_integer(id));
    put(action, "value", legal_field(event, value, arena_bytes(&event->arena, name).length));
    gp_action(event, action);
}

static void act(gp_event *event, const char *op, int64_t id, const char *key, json *value) {
    json *action = action_of(op);
    if (id) put(action, "id", new_integer(id));
    if (key) put(action, key, value);
    gp_action(event, action);
}

void gp_delete_header(gp_event *event, int64_t id) { act(event, "header.delete", 0, "id", new_integer(id)); }
void gp_delete_headers(gp_event *event, const char *name) { act(event, "header.delete_all", 0, "name", field_of(name)); }
void gp_add_recipient(gp_event *event, const char *address) { act(event, "recipient.add", 0, "address", field_of(address)); }
void gp_remove_recipient(gp_event *event, int64_t id) { act(event, "recipient.remove", 0, "id", new_integer(id)); }
void gp_replace_recipient(gp_event *event, int64_t id, const char *address) { act(event, "recipient.replace", id, "address", field_of(address)); }
void gp_replace_sender(gp_event *event, const char *address) { act(event, "sender.replace", 0, "address", field_of(address)); }
void gp_set_relay(gp_event *event, bool value) { act(event, "session.relay", 0, "value", new_boolean(value)); }
void gp_set_client_name(gp_event *event, const char *name) { act(event, "session.client_name", 0, "value", name ? field_of(name) : NULL); }
void gp_delay_reply(gp_event *event, int64_t ms) { act(event, "reply.delay", 0, "ms", new_integer(ms)); }

void gp_refuse_recipient(gp_event *event, int64_t id, gp_verdict verdict, int code, const char *status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = format ? formatted(format, arguments) : NULL;
    va_end(arguments);
    json *action = action_of("recipient.refuse");
    put(action, "id", new_integer(id));
    put(action, "verdict", new_string(gp_word_of_verdict(verdict)));
    if (code || status || text) put(action, "reply", reply_of(code, status, text));
    gp_action(event, action);
}

gp_verdict gp_challenge(gp_event *event, gp_bytes challenge, gp_bytes state) {
    json *action = action_of("auth.challenge");
    put(action, "challenge", gp_field_of_bytes(challenge.data, challenge.length));
    put(action, "state", gp_field_of_bytes(state.data, state.length));
    gp_action(event, action);
    return GP_DONE;
}

const char *gp_new_message_path(gp_event *event) {
    if (!event->connection || !event->connection->out_folder) return NULL;
    uint64_t random[2] = {(uint64_t)now_us(), (uint64_t)event->id};
    if (getrandom(random, sizeof random, 0) < 0) random[0] ^= (uint64_t)getpid() << 32;
    char *path = text_of("%s/%ld-%016" PRIx64 "%016" PRIx64, event->connection->out_folder, (long)getpid(), random[0], random[1]);
    char *copy = arena_copy(&event->arena, path, strlen(path));
    free(path);
    return copy;
}

void gp_replace_message(gp_event *event, const char *path) {
    const char *slash = strrchr(path, '/');
    act(event, "message.replace", 0, "path", new_string(slash ? slash + 1 : path));
}

/* The loop */

static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t signals;

static void on_signal(int number) {
    if (signals++) _exit(128 + number);
    int saved = errno;
    ssize_t unused = write(signal_pipe[1], "", 1);
    (void)unused;
    errno = saved;
}

int gp_watch(gp_worker *worker, int fd, short events, void (*function)(int, short, void *), void *context) {
    gp_unwatch(worker, fd);
    worker->watches = grown(worker->watches, worker->watch_count + 1, sizeof *worker->watches);
    worker->watches[worker->watch_count++] = (struct watch){fd, events, function, context};
    return 0;
}

void gp_unwatch(gp_worker *worker, int fd) {
    for (size_t index = 0; index < worker->watch_count; index++)
        if (worker->watches[index].fd == fd) worker->watches[index--] = worker->watches[--worker->watch_count];
}

int gp_after(gp_worker *worker, int64_t ms, void (*function)(void *), void *context) {
    worker->timers = grown(worker->timers, worker->timer_count + 1, sizeof *worker->timers);
    worker->timers[worker->timer_count++] = (struct timer){now_ms() + (ms > 0 ? ms : 0), function, context};
    return 0;
}

static void end_link(gp_worker *worker, struct link *link, const char *why) {
    if (link->connection) {
        gp_connection *connection = link->connection;
        const char *reason = connection->close_reason ? connection->close_reason : why;
        if (!worker->is_stopping) say(worker, GP_WARNING, "%s: the connection is over (%s); dialling again", link->path, reason);
        int64_t least = connection->retry_ms;
        if (connection->is_welcomed) link->backoff = SHORTEST_BACKOFF_MS;
        uint32_t random = (uint32_t)now_us();
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random ^= (uint32_t)getpid();
        int64_t wait = (int64_t)(random % ((uint32_t)link->backoff + 1));
        link->due = now_ms() + (wait > least ? wait : least);
        link->backoff = 2 * link->backoff < LONGEST_BACKOFF_MS ? 2 * link->backoff : LONGEST_BACKOFF_MS;
        gp_connection_free(connection);
        link->connection = NULL;
    }
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
    free(link->unsent.data);
    link->unsent = (struct buffer){0};
    link->sent = 0;
    if (worker->is_stopping) link->is_gone = true;
}

/* Writes what there is, as far as the socket takes it. */
static void flush_link(gp_worker *worker, struct link *link) {
    if (link->fd < 0 || link->is_ending) return;
    for (;;) {
        if (link->sent == link->unsent.length) {
            size_t length;
            free(link->unsent.data);
            link->unsent = (struct buffer){0};
            link->sent = 0;
            char *octets = gp_connection_take(link->connection, &length);
            if (!octets) break;
            link->unsent = (struct buffer){octets, length, length};
        }
        ssize_t count = send(link->fd, link->unsent.data + link->sent, link->unsent.length - link->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (count < 0) {
            gp_connection_lost(link->connection);
            link->is_ending = true;
            link->close_by = 0;
            return;
        }
        link->sent += (size_t)count;
    }
    if (link->connection->is_closed) { /* the frontend reads our bye, then it closes */
        shutdown(link->fd, SHUT_WR);
        link->is_ending = true;
        link->close_by = now_ms() + CLOSE_MS;
    }
    (void)worker;
}

static void on_outgoing(void *context) {
    struct link *link = context;
    flush_link(NULL, link);
}

static void dial(gp_worker *worker, struct link *link) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(link->path);
    if (length >= sizeof address.sun_path) {
        say(worker, GP_ERROR, "%s: the path of a socket has at most %zu octets", link->path, sizeof address.sun_path - 1);
        link->due = now_ms() + LONGEST_RETRY_MS;
        return;
    }
    memcpy(address.sun_path, link->path, length);
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        link->is_gone = link->fd >= 0 && errno == ENOENT;
        uint32_t random = (uint32_t)now_us();
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random ^= (uint32_t)getpid();
        link->due = now_ms() + (int64_t)(random % ((uint32_t)link->backoff + 1));
        link->backoff = 2 * link->backoff < LONGEST_BACKOFF_MS ? 2 * link->backoff : LONGEST_BACKOFF_MS;
        if (link->fd >= 0) close(link->fd);
        link->fd = -1;
        return;
    }
    link->connection = gp_connection_new(worker);
    link->connection->on_outgoing = on_outgoing;
    link->connection->outgoing_context = link;
    link->is_greeted = link->is_ending = false;
    link->welcome_by = now_ms() + WELCOME_MS;
    flush_link(worker, link);
}

static void receive(gp_worker *worker, struct link *link) {
    static const size_t most = 65536;
    char *octets = make(most);
    ssize_t count = recv(link->fd, octets, most, MSG_DONTWAIT);
    if (count > 0) {
        if (!link->is_ending) {
            gp_connection_feed(link->connection, octets, (size_t)count);
            if (!link->is_greeted && link->connection->is_welcomed) {
                link->is_greeted = true;
                say(worker, GP_INFO, "serving frontend %s", link->connection->frontend);
                if (worker->is_running && !worker->has_said_ready) {
                    worker->has_said_ready = true;
                    printf("ready: worker %s, pool %s, frontend %s\n", worker->name, worker->pool, link->connection->frontend);
                    fflush(stdout);
                }
            }
            flush_link(worker, link);
        }
    } else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        end_link(worker, link, "end of file");
    }
    free(octets);
}

static void look(gp_worker *worker) {
    DIR *folder = opendir(worker->folder);
    if (!folder) return; /* no frontend yet */
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (length < 6 || entry->d_name[0] == '.' || strcmp(entry->d_name + length - 5, ".sock")) continue;
        char *path = text_of("%s/%s", worker->folder, entry->d_name);
        struct link *link = worker->links;
        while (link && strcmp(link->path, path)) link = link->next;
        if (link) {
            free(path);
            continue;
        }
        link = make(sizeof *link);
        link->path = path;
        link->fd = -1;
        link->backoff = SHORTEST_BACKOFF_MS;
        link->next = worker->links;
        worker->links = link;
    }
    closedir(folder);
}

void gp_worker_stop(gp_worker *worker) {
    if (worker->is_stopping) return;
    worker->is_stopping = true;
    worker->drain_by = now_ms() + worker->drain_timeout_ms;
    say(worker, GP_INFO, "draining");
    for (struct link *link = worker->links; link; link = link->next) {
        if (link->fd < 0) {
            link->is_gone = true;
        } else {
            gp_connection_drain(link->connection);
            flush_link(worker, link);
        }
    }
}

/* What is due now; the time of what is due next, at most `until`. */
static int64_t run_timers(gp_worker *worker, int64_t until) {
    int64_t now = now_ms();
    for (size_t index = 0; index < worker->timer_count;) {
        struct timer timer = worker->timers[index];
        if (timer.due <= now) {
            worker->timers[index] = worker->timers[--worker->timer_count];
            timer.function(timer.context);
            index = 0; /* the function may have changed the list */
            continue;
        }
        if (timer.due < until) until = timer.due;
        index++;
    }
    if (!worker->is_stopping) {
        if (worker->look_due <= now) {
            look(worker);
            worker->look_due = now + worker->look_every_ms;
        }
        if (worker->look_due < until) until = worker->look_due;
    } else if (worker->drain_by <= now) {
        for (struct link *link = worker->links; link; link = link->next)
            if (link->connection && !link->is_ending) {
                close_with(link->connection, "stopping", NULL);
                flush_link(worker, link);
                if (!link->is_ending) end_link(worker, link, "the drain took too long");
            }
    } else if (worker->drain_by < until) {
        until = worker->drain_by;
    }
    for (struct link **at = &worker->links; *at;) {
        struct link *link = *at;
        if (link->fd < 0 && !link->is_gone && link->due <= now) dial(worker, link);
        if (link->connection && !link->is_ending) {
            if (!link->is_greeted && link->welcome_by <= now && !link->connection->is_closed) close_with(link->connection, "timeout", "no welcome");
            int64_t left = gp_connection_tick(link->connection);
            if (left >= 0 && now + left + 1 < until) until = now + left + 1;
            flush_link(worker, link);
        }
        if (link->fd >= 0 && link->is_ending && link->close_by <= now) end_link(worker, link, "closed");
        if (link->is_gone) {
            *at = link->next;
            link_free(link);
            continue;
        }
        int64_t due = link->fd < 0 ? link->due : link->is_ending ? link->close_by : !link->is_greeted ? link->welcome_by : until;
        if (due < until) until = due;
        at = &link->next;
    }
    return until;
}

bool gp_worker_step(gp_worker *worker, int timeout_ms) {
    int64_t now = now_ms(), until = run_timers(worker, timeout_ms < 0 ? now + 3600000 : now + timeout_ms);
    if (worker->is_stopping && !worker->links) return false;
    size_t count = 1 + worker->watch_count, at = 0;
    for (struct link *link = worker->links; link; link = link->next) count++;
    struct pollfd *fds = grown(NULL, count, sizeof *fds);
    struct watch *watches = grown(NULL, worker->watch_count, sizeof *watches);
    size_t watch_count = worker->watch_count;
    fds[at++] = (struct pollfd){signal_pipe[0], POLLIN, 0};
    for (size_t index = 0; index < watch_count; index++) {
        watches[index] = worker->watches[index];
        fds[at++] = (struct pollfd){watches[index].fd, watches[index].events, 0};
    }
    /* The frontend does not take our answers: nothing is read that would make more of them. */
    for (struct link *link = worker->links; link; link = link->next)
        fds[at++] = (struct pollfd){link->fd, link->unsent.length > link->sent && !link->is_ending ? POLLOUT : POLLIN, 0};
    now = now_ms();
    int64_t wait = until > now ? until - now : 0;
    if (poll(fds, at, wait < 3600000 ? (int)wait : 3600000) > 0) {
        char octet;
        if (fds[0].revents && read(signal_pipe[0], &octet, 1) == 1) gp_worker_stop(worker);
        for (size_t index = 0; index < watch_count; index++) {
            bool is_still = false;
            for (size_t other = 0; other < worker->watch_count; other++)
                is_still |= worker->watches[other].fd == watches[index].fd && worker->watches[other].function == watches[index].function;
            if (fds[1 + index].revents && is_still) watches[index].function(watches[index].fd, fds[1 + index].revents, watches[index].context);
        }
        at = 1 + watch_count;
        for (struct link *link = worker->links; link; link = link->next, at++) {
            if (!fds[at].revents || link->fd != fds[at].fd || link->fd < 0) continue;
            if (fds[at].revents & POLLOUT) flush_link(worker, link);
            else receive(worker, link);
        }
    }
    free(fds);
    free(watches);
    return true;
}

int gp_worker_run(gp_worker *worker) {
    if (!worker || worker->is_broken) {
        say(worker, GP_ERROR, "the worker does not start: see above");
        return 1;
    }
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        say(worker, GP_ERROR, "pipe: %s", strerror(errno));
        return 1;
    }
    struct sigaction action = {.sa_handler = on_signal}, old[2];
    sigemptyset(&action.sa_mask);
    signals = 0;
    sigaction(SIGTERM, &action, &old[0]);
    sigaction(SIGINT, &action, &old[1]);
    worker->is_running = true;
    while (gp_worker_step(worker, -1)) continue;
    worker->is_running = false;
    sigaction(SIGTERM, &old[0], NULL);
    sigaction(SIGINT, &old[1], NULL);
    close(signal_pipe[0]);
    close(signal_pipe[1]);
    signal_pipe[0] = signal_pipe[1] = -1;
    return 0;
}

/* Control files */

struct stamp {
    char *path;
    bool is_there;
    struct stat stat;
};

struct content {
    char **lines;
    size_t count;
    bool is_present;
};

struct gp_control {
    char *name, *folder, *error;
    struct stamp *stamps;
    size_t stamp_count;
    struct content content;
    bool is_read;
};

struct reading {
    gp_control *control;
    struct content content;
    const struct stat *open[DEEPEST_INCLUDE];
    size_t depth;
    char *error;
};

static void content_free(struct content *content) {
    for (size_t index = 0; index < content->count; index++) free(content->lines[index]);
    free(content->lines);
    *content = (struct content){0};
}

static struct stamp stamp_of(const char *path) {
    struct stamp stamp = {.path = copied(path, strlen(path))};
    stamp.is_there = stat(path, &stamp.stat) == 0;
    return stamp;
}

static bool is_same(const struct stamp *stamp) {
    struct stat now;
    bool is_there = stat(stamp->path, &now) == 0;
    if (!is_there || !stamp->is_there) return is_there == stamp->is_there;
    return now.st_dev == stamp->stat.st_dev && now.st_ino == stamp->stat.st_ino && now.st_size == stamp->stat.st_size
           && now.st_mtim.tv_sec == stamp->stat.st_mtim.tv_sec && now.st_mtim.tv_nsec == stamp->stat.st_mtim.tv_nsec
           && now.st_ctim.tv_sec == stamp->stat.st_ctim.tv_sec && now.st_ctim.tv_nsec == stamp->stat.st_ctim.tv_nsec;
}

static bool note_stamp(gp_control *control, const char *path) {
    control->stamps = grown(control->stamps, control->stamp_count + 1, sizeof *control->stamps);
    control->stamps[control->stamp_count] = stamp_of(path);
    return control->stamps[control->stamp_count++].is_there;
}

static bool wrong_file(struct reading *reading, const char *format, ...) GP_PRINTF(2, 3);
static bool wrong_file(struct reading *reading, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!reading->error) reading->error = formatted(format, arguments);
    va_end(arguments);
    return false;
}

static bool is_upward(const char *name) {
    for (const char *at = name; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
        if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2])) return true;
    return false;
}

static char *path_of(gp_control *control, const char *name) {
    return name[0] == '/' ? copied(name, strlen(name)) : text_of("%s/%s", control->folder, name);
}

static bool read_file(struct reading *reading, const char *path);

static int plain_files(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static bool read_folder(struct reading *reading, const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, plain_files, NULL);
    if (count < 0) return wrong_file(reading, "%s: %s", path, strerror(errno));
    for (int index = 0; index < count; index++) /* few: in the order of their octets */
        for (int other = index + 1; other < count; other++)
            if (strcmp(names[other]->d_name, names[index]->d_name) < 0) {
                struct dirent *swapped = names[index];
                names[index] = names[other];
                names[other] = swapped;
            }
    bool is_good = true;
    for (int index = 0; index < count; index++) {
        char *file = text_of("%s/%s", path, names[index]->d_name);
        struct stat found;
        if (is_good && stat(file, &found) == 0 && S_ISREG(found.st_mode)) {
            note_stamp(reading->control, file);
            is_good = read_file(reading, file);
        }
        free(file);
        free(names[index]);
    }
    free(names);
    return is_good;
}

static bool include(struct reading *reading, const char *name, const char *path, size_t number) {
    if (!*name || is_upward(name)) return wrong_file(reading, "%s:%zu: $include %s: name a control file, without ..", path, number, name);
    char *target = path_of(reading->control, name);
    bool is_good = note_stamp(reading->control, target);
    struct stat found;
    if (!is_good || stat(target, &found) != 0) is_good = wrong_file(reading, "%s:%zu: $include %s: there is no such file", path, number, name);
    else is_good = S_ISDIR(found.st_mode) ? read_folder(reading, target) : read_file(reading, target);
    free(target);
    return is_good;
}

static bool read_lines(struct reading *reading, const char *path, const char *octets, size_t length) {
    if (length >= 3 && !memcmp(octets, "\xef\xbb\xbf", 3)) {
        octets += 3;
        length -= 3;
    }
    const char *end = octets + length;
    for (size_t number = 1; octets < end; number++) {
        const char *stop = memchr(octets, '\n', (size_t)(end - octets)), *next;
        if (!stop) stop = end;
        next = stop < end ? stop + 1 : end;
        while (octets < stop && strchr(" \t\v\f\r", *octets) && *octets) octets++;
        while (stop > octets && strchr(" \t\v\f\r", stop[-1]) && stop[-1]) stop--;
        size_t size = (size_t)(stop - octets);
        if (size && *octets != '#') {
            if (!is_utf8(octets, size) || memchr(octets, 0, size)) return wrong_file(reading, "%s:%zu: this line is not UTF-8", path, number);
            char *line = copied(octets, size);
            size_t word = strcspn(line, " \t");
            if (word == 8 && !strncmp(line, "$include", 8)) {
                bool is_good = include(reading, line + word + strspn(line + word, " \t"), path, number);
                free(line);
                if (!is_good) return false;
            } else {
                reading->content.lines = grown(reading->content.lines, reading->content.count + 1, sizeof *reading->content.lines);
                reading->content.lines[reading->content.count++] = line;
            }
        }
        octets = next;
    }
    return true;
}

static bool read_file(struct reading *reading, const char *path) {
    FILE *file = fopen(path, "rbe");
    struct stat found;
    if (!file || fstat(fileno(file), &found) != 0) {
        wrong_file(reading, "%s: %s", path, strerror(errno));
        if (file) fclose(file);
        return false;
    }
    bool is_good = reading->depth < DEEPEST_INCLUDE;
    for (size_t index = 0; index < reading->depth; index++)
        is_good &= reading->open[index]->st_ino != found.st_ino || reading->open[index]->st_dev != found.st_dev;
    if (!is_good) wrong_file(reading, "%s includes itself, or includes nest over 16: remove this $include", path);
    struct buffer text = {0};
    char piece[8192];
    for (size_t count; is_good && (count = fread(piece, 1, sizeof piece, file)) > 0;) add(&text, piece, count);
    if (is_good && ferror(file)) is_good = wrong_file(reading, "%s: %s", path, strerror(errno));
    fclose(file);
    if (is_good && text.length) {
        reading->open[reading->depth++] = &found;
        is_good = read_lines(reading, path, text.data, text.length);
        reading->depth--;
    }
    free(text.data);
    return is_good;
}

static void refresh(gp_control *control) {
    bool is_fresh = control->is_read;
    for (size_t index = 0; is_fresh && index < control->stamp_count; index++) is_fresh = is_same(&control->stamps[index]);
    if (is_fresh) return;
    for (size_t index = 0; index < control->stamp_count; index++) free(control->stamps[index].path);
    control->stamp_count = 0;
    control->is_read = true;
    struct reading reading = {.control = control};
    char *path = path_of(control, control->name);
    reading.content.is_present = note_stamp(control, path);
    bool is_good = !is_upward(control->name) || wrong_file(&reading, "a control file's name has no ..: %s", control->name);
    if (is_good && reading.content.is_present) is_good = read_file(&reading, path);
    free(path);
    if (is_good) {
        content_free(&control->content);
        control->content = reading.content;
    } else {
        content_free(&reading.content);
        if (!control->error || strcmp(control->error, reading.error))
            say(NULL, GP_ERROR, "%s; the last good lines of %s count", reading.error, control->name);
    }
    free(control->error);
    control->error = reading.error;
}

gp_control *gp_control_open(const char *name, const char *folder) {
    gp_control *control = make(sizeof *control);
    if (!folder) folder = "config";
    control->name = copied(name, strlen(name));
    control->folder = copied(folder, strlen(folder));
    refresh(control);
    return control;
}

void gp_control_free(gp_control *control) {
    if (!control) return;
    content_free(&control->content);
    for (size_t index = 0; index < control->stamp_count; index++) free(control->stamps[index].path);
    free(control->stamps);
    free(control->name);
    free(control->folder);
    free(control->error);
    free(control);
}

const char *const *gp_control_lines(gp_control *control, size_t *count) {
    refresh(control);
    *count = control->content.count;
    return (const char *const *)control->content.lines;
}

const char *gp_control_first(gp_control *control) {
    refresh(control);
    return control->content.count ? control->content.lines[0] : NULL;
}

bool gp_control_is_present(gp_control *control) {
    refresh(control);
    return control->content.is_present;
}

bool gp_control_has(gp_control *control, const char *word) {
    refresh(control);
    size_t length = strlen(word);
    for (size_t index = 0; index < control->content.count; index++) {
        const char *line = control->content.lines[index];
        if (strcspn(line, " \t") == length && !strncasecmp(line, word, length)) return true;
    }
    return false;
}

const char *gp_control_error(gp_control *control) {
    refresh(control);
    return control->error;
}
