/* TLS sessions as fast as a server takes them.
 *
 * cc -O2 tls.c -lssl -lcrypto -lpthread; tls PORT CLIENTS SECONDS OCTETS handshake|each|kept
 *
 * TLS begins with the first octet. `handshake`: connect, handshake, read the greeting, close. `each`: a
 * whole message of OCTETS in a connection of its own. `kept`: messages one after the other. No session is
 * resumed. Prints how many a second. Ends with 1 when a reply is not what it wants. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_CTX *context;
static int port;
static size_t octets;
static char *message;
static enum { HANDSHAKE, EACH, KEPT } mode;
static atomic_long done;
static double end;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *more)
{
    fprintf(stderr, "tls: %s: %s\n", what, more);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Reads a whole reply, and wants its first digit. */
static void hear(SSL *tls, char wanted)
{
    char reply[2048];
    size_t count = 0;
    for (;;) {
        int got = SSL_read(tls, reply + count, (int)(sizeof reply - 1 - count));
        if (got <= 0) fail("read", "the server closed");
        count += (size_t)got;
        reply[count] = 0;
        char *last = reply + count - 1;
        if (*last != '\n') continue;
        while (last > reply && last[-1] != '\n') last--;
        if (last[3] != '-') break;
    }
    if (reply[0] != wanted) fail("reply", reply);
}

static void say(SSL *tls, const char *line, size_t length, char wanted)
{
    if (SSL_write(tls, line, (int)length) <= 0) fail("write", "the server closed");
    hear(tls, wanted);
}

#define SAY(line, wanted) say(tls, line, sizeof line - 1, wanted)

static SSL *dial(int *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *peer = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(*peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(*peer, (struct sockaddr *)&address, sizeof address) != 0) fail("connect", "refused");
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, *peer);
    if (SSL_connect(tls) != 1) fail("handshake", "failed");
    hear(tls, '2');
    return tls;
}

static void hang_up(SSL *tls, int peer)
{
    /* A reset, so that no port waits. */
    struct linger reset = {1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    SSL_free(tls);
    close(peer);
}

static void *client(void *unused)
{
    SSL *tls = NULL;
    int peer = -1;
    (void)unused;
    while (now() < end) {
        if (tls == NULL) {
            tls = dial(&peer);
            if (mode != HANDSHAKE) SAY("EHLO client.example\r\n", '2');
        }
        if (mode != HANDSHAKE) {
            SAY("MAIL FROM:<a@example.net>\r\n", '2');
            SAY("RCPT TO:<b@example.com>\r\n", '2');
            SAY("DATA\r\n", '3');
            say(tls, message, octets, '2');
        }
        atomic_fetch_add(&done, 1);
        if (mode != KEPT) {
            if (mode == EACH) SAY("QUIT\r\n", '2');
            hang_up(tls, peer);
            tls = NULL;
        }
    }
    if (tls != NULL) hang_up(tls, peer);
    return NULL;
}

int main(int count, char **words)
{
    if (count != 6) fail("usage", "tls PORT CLIENTS SECONDS OCTETS handshake|each|kept");
    signal(SIGPIPE, SIG_IGN);
    port = atoi(words[1]);
    int clients = atoi(words[2]);
    octets = (size_t)atol(words[4]);
    mode = words[5][0] == 'h' ? HANDSHAKE : words[5][0] == 'e' ? EACH : KEPT;
    if (octets < 128) octets = 128;
    message = malloc(octets);
    const char *header = "Subject: load\r\n\r\n";
    memset(message, 'x', octets);
    for (size_t place = 78; place + 2 < octets; place += 80) memcpy(message + place, "\r\n", 2);
    memcpy(message, header, strlen(header));
    memcpy(message + octets - 5, "\r\n.\r\n", 5);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    pthread_t threads[clients];
    double began = now();
    end = began + atof(words[3]);
    for (int index = 0; index < clients; index++) pthread_create(&threads[index], NULL, client, NULL);
    for (int index = 0; index < clients; index++) pthread_join(threads[index], NULL);
    printf("%.1f\n", (double)atomic_load(&done) / (now() - began));
    return 0;
}
