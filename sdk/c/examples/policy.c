/* Greylists, refuses one recipient, rewrites another, scans the body and marks the mail. */
#define _GNU_SOURCE
#include "gatepost.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { LARGEST = 65536 }; /* triplets; one that falls into the place of another takes it */
static const char phrase[] = "forbidden phrase";

struct triplet {
    char *text;
    double first_seen;
};

struct policy {
    double seconds;
    struct triplet seen[LARGEST];
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Whether this client, sender and recipient were seen long enough ago. */
static bool is_known(struct policy *policy, const char *ip, const char *sender, const char *recipient) {
    char *text = NULL;
    if (asprintf(&text, "%s %s %s", ip, sender, recipient) < 0) return false;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (char *at = text; *at; at++) {
        if (*at >= 'A' && *at <= 'Z') *at += 'a' - 'A';
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    }
    struct triplet *place = &policy->seen[hash % LARGEST];
    if (place->text && !strcmp(place->text, text)) {
        free(text);
        return now() - place->first_seen >= policy->seconds;
    }
    free(place->text);
    *place = (struct triplet){text, now()};
    return false;
}

static gp_verdict recipient(gp_event *event, void *context) {
    struct policy *policy = context;
    gp_address asked = gp_recipient(event);
    if (!strcasecmp(asked.address.data, "eve@example.com")) return gp_deny(event, 550, "5.1.6", "eve has left");
    if (!strcasecmp(asked.address.data, "old@example.com")) {
        gp_replace_recipient(event, asked.id, "new@example.com");
        return GP_DECLINED;
    }
    if (is_known(policy, gp_client_ip(event), gp_sender(event).address.data, asked.address.data)) return GP_DECLINED;
    return gp_denysoft(event, 450, "4.7.1", "Greylisted, come back later");
}

static gp_verdict body(gp_event *event, void *context) {
    (void)context;
    char piece[65536];
    size_t kept = 0, count;
    bool is_there = false;
    FILE *file = gp_open_body(event);
    if (!file) return gp_fail(event, "the body cannot be read");
    while (!is_there && (count = fread(piece + kept, 1, sizeof piece - kept, file)) > 0) {
        count += kept;
        is_there = memmem(piece, count, phrase, strlen(phrase)) != NULL;
        kept = count < strlen(phrase) ? count : strlen(phrase) - 1;
        memmove(piece, piece + count - kept, kept);
    }
    bool is_whole = is_there || !ferror(file);
    fclose(file);
    if (!is_whole) return gp_fail(event, "the body cannot be read");
    if (is_there) return gp_deny(event, 554, "5.7.1", "The body holds a forbidden phrase");
    gp_add_header(event, "X-Policy", "c");
    return GP_DECLINED;
}

int main(void) {
    static struct policy policy;
    const char *seconds = getenv("GATEPOST_GREYLIST_SECONDS"), *pool = getenv("GATEPOST_POOL");
    policy.seconds = seconds ? strtod(seconds, NULL) : 300;
    gp_worker *worker = gp_worker_new("policy", &(gp_options){.pool = pool});
    gp_hook(worker, "rcpt", recipient, &policy, 0);
    gp_hook(worker, "data_post", body, NULL, GP_NEED_HEADERS | GP_NEED_MESSAGE);
    int code = gp_worker_run(worker);
    gp_worker_free(worker);
    for (size_t index = 0; index < LARGEST; index++) free(policy.seen[index].text);
    return code;
}
