/* How long each reply takes while messages arrive at a fixed rate, whatever the server does.
 *
 * cc -O2 latency.c; latency PORT CLIENTS RATE SECONDS OCTETS
 *
 * A message is due every 1/RATE s and takes a connection that is free; if none is, it waits, and that counts:
 * MAIL is timed from when its message was due, what follows from when it was sent. Prints a line for each
 * reply: `mail|rcpt|data|message NANOSECONDS`. Ends with 1 when a reply is not what it wants. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum step { FREE, MAIL, RCPT, DATA, MESSAGE, STEPS };
static const char *names[STEPS] = {"", "mail", "rcpt", "data", "message"};
static const char wanted[STEPS] = {0, '2', '2', '3', '2'};
static char *text[STEPS];
static size_t length[STEPS];

struct client {
    int socket;
    enum step step;
    int64_t since;
    char reply[512];
    size_t count;
};

struct sample {
    enum step step;
    int64_t nanoseconds;
};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void fail(const char *what, const char *more)
{
    fprintf(stderr, "latency: %s %s\n", what, more);
    exit(1);
}

static void say(struct client *client, enum step step, int64_t since)
{
    client->step = step;
    client->since = since;
    client->count = 0;
    size_t sent = 0;
    while (sent < length[step]) {
        ssize_t count = write(client->socket, text[step] + sent, length[step] - sent);
        if (count < 0 && errno == EAGAIN) {
            struct pollfd one = {client->socket, POLLOUT, 0};
            poll(&one, 1, 1000);
            continue;
        }
        if (count <= 0) fail("write", strerror(errno));
        sent += (size_t)count;
    }
}

/* Whether a whole reply has come: its last line has a space after the code. */
static int hear(struct client *client)
{
    ssize_t count = read(client->socket, client->reply + client->count, sizeof client->reply - 1 - client->count);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) fail("read", count < 0 ? strerror(errno) : "end");
    client->count += (size_t)count;
    client->reply[client->count] = 0;
    if (client->reply[client->count - 1] != '\n') return 0;
    char *last = client->reply + client->count - 1;
    while (last > client->reply && last[-1] != '\n') last--;
    return strlen(last) > 3 && last[3] == ' ';
}

static void greet(struct client *client, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address) != 0) fail("connect", strerror(errno));
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (!hear(client)) continue;
    client->count = 0;
    static const char hello[] = "EHLO bench.example\r\n";
    if (write(client->socket, hello, sizeof hello - 1) < 0) fail("write", strerror(errno));
    while (!hear(client)) continue;
    if (client->reply[0] != '2') fail("EHLO", client->reply);
    client->step = FREE;
    fcntl(client->socket, F_SETFL, O_NONBLOCK);
}

static void prepare(int octets)
{
    text[MAIL] = "MAIL FROM:<bob@example.net>\r\n";
    text[RCPT] = "RCPT TO:<alice@example.com>\r\n";
    text[DATA] = "DATA\r\n";
    static const char header[] = "From: bob@example.net\r\nSubject: latency\r\n\r\n";
    char *body = malloc((size_t)octets + sizeof header + 80);
    if (!body) fail("malloc", "");
    size_t end = (size_t)sprintf(body, "%s", header);
    for (int written = 0; written < octets; written += 80)
        end += (size_t)sprintf(body + end, "%078d\r\n", written);
    end += (size_t)sprintf(body + end, ".\r\n");
    text[MESSAGE] = body;
    for (int step = MAIL; step < STEPS; step++) length[step] = strlen(text[step]);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: latency PORT CLIENTS RATE SECONDS OCTETS\n");
        return 64;
    }
    int port = atoi(argv[1]), count = atoi(argv[2]);
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    prepare(atoi(argv[5]));
    int64_t messages = (int64_t)(rate * seconds), begun = 0, ended = 0, samples = 0;
    struct client *clients = calloc((size_t)count, sizeof *clients);
    struct pollfd *polled = calloc((size_t)count, sizeof *polled);
    struct sample *all = calloc((size_t)messages * STEPS, sizeof *all);
    if (!clients || !polled || !all || messages < 1) fail("too much, or nothing,", "to do");
    for (int index = 0; index < count; index++) {
        greet(&clients[index], port);
        polled[index] = (struct pollfd){clients[index].socket, POLLIN, 0};
    }
    int64_t start = now() + 10000000;
    while (ended < messages) {
        int64_t due = start + (int64_t)(1e9 * (double)begun / rate);
        for (int index = 0; begun < messages && now() >= due && index < count; index++) {
            if (clients[index].step != FREE) continue;
            say(&clients[index], MAIL, due);
            begun++;
            due = start + (int64_t)(1e9 * (double)begun / rate);
        }
        int64_t wait = begun < messages ? due - now() : 100000000;
        struct timespec timeout = {0, wait < 0 ? 50000 : wait > 100000000 ? 100000000 : wait};
        if (ppoll(polled, (nfds_t)count, &timeout, NULL) <= 0) continue;
        for (int index = 0; index < count; index++) {
            struct client *client = &clients[index];
            if (!polled[index].revents || !hear(client)) continue;
            int64_t time = now();
            if (client->reply[0] != wanted[client->step]) fail(names[client->step], client->reply);
            all[samples++] = (struct sample){client->step, time - client->since};
            if (client->step == MESSAGE) {
                client->step = FREE;
                ended++;
            } else {
                say(client, client->step + 1, time);
            }
        }
    }
    for (int64_t index = 0; index < samples; index++)
        printf("%s %lld\n", names[all[index].step], (long long)all[index].nanoseconds);
    return 0;
}
