/* A milter that is asked about everything and says continue: the least that a policy can cost there.
 * cc -O2 milter.c -lmilter -lpthread; milter SOCKET */
#include <libmilter/mfapi.h>
#include <stdio.h>
#include <stdlib.h>

static sfsistat on_connect(SMFICTX *c, char *h, _SOCK_ADDR *a) { (void)c; (void)h; (void)a; return SMFIS_CONTINUE; }
static sfsistat on_helo(SMFICTX *c, char *h) { (void)c; (void)h; return SMFIS_CONTINUE; }
static sfsistat on_from(SMFICTX *c, char **a) { (void)c; (void)a; return SMFIS_CONTINUE; }
static sfsistat on_rcpt(SMFICTX *c, char **a) { (void)c; (void)a; return SMFIS_CONTINUE; }
static sfsistat on_header(SMFICTX *c, char *n, char *v) { (void)c; (void)n; (void)v; return SMFIS_CONTINUE; }
static sfsistat on_eoh(SMFICTX *c) { (void)c; return SMFIS_CONTINUE; }
static sfsistat on_body(SMFICTX *c, unsigned char *b, size_t n) { (void)c; (void)b; (void)n; return SMFIS_CONTINUE; }
static sfsistat on_eom(SMFICTX *c) { (void)c; return SMFIS_CONTINUE; }

int main(int argc, char **argv)
{
    struct smfiDesc filter = {
        .xxfi_name = "continue", .xxfi_version = SMFI_VERSION,
        .xxfi_connect = on_connect, .xxfi_helo = on_helo, .xxfi_envfrom = on_from,
        .xxfi_envrcpt = on_rcpt, .xxfi_header = on_header, .xxfi_eoh = on_eoh,
        .xxfi_body = on_body, .xxfi_eom = on_eom,
    };
    if (argc != 2) {
        fprintf(stderr, "usage: milter SOCKET\n");
        return 64;
    }
    if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
        return 69;
    return smfi_main() == MI_SUCCESS ? 0 : 70;
}
