/* Refuses a recipient who has left, marks the mail: a whole policy worker. */
#include "gatepost.h"
#include <strings.h>

gp_verdict has_left(gp_event *event, void *context) {
    (void)context;
    if (!strcasecmp(gp_recipient(event).address.data, "eve@example.com")) return gp_deny(event, 550, "5.1.6", "eve has left");
    return GP_DECLINED;
}

gp_verdict mark(gp_event *event, void *context) {
    (void)context;
    gp_add_header(event, "X-Seen-By", "example");
    return GP_DECLINED;
}

gp_worker *make_worker(void) {
    gp_worker *worker = gp_worker_new("example", NULL);
    gp_hook(worker, "rcpt", has_left, NULL, 0);
    gp_hook(worker, "data_post_headers", mark, NULL, 0);
    return worker;
}

#ifndef TEST
int main(void) {
    gp_worker *worker = make_worker();
    int code = gp_worker_run(worker);
    gp_worker_free(worker);
    return code;
}
#endif
