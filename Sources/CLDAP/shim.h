// What LDAPClient needs of OpenLDAP's libldap. Its macros are casts, which Swift does not import, and times are
// milliseconds here.
#include <ldap.h>
#include <openldap.h>
#include <sys/time.h>

enum gatepost_ldap_message {
    gatepost_ldap_entry = LDAP_RES_SEARCH_ENTRY,
    gatepost_ldap_reference = LDAP_RES_SEARCH_REFERENCE,
    gatepost_ldap_done = LDAP_RES_SEARCH_RESULT,
};

static inline struct timeval gatepost_ldap_time(long milliseconds) {
    return (struct timeval){.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
}

/// A bind with a name and a password (RFC 4511 §4.2, simple).
static inline int gatepost_ldap_bind(LDAP *ld, const char *dn, struct berval *password, int *message) {
    return ldap_sasl_bind(ld, dn, LDAP_SASL_SIMPLE, password, NULL, NULL, message);
}

/// A search of a whole tree for names alone (RFC 4511 §4.5.1.8), two at most.
static inline int gatepost_ldap_search(
    LDAP *ld, const char *base, const char *filter, long milliseconds, int *message
) {
    char none[] = LDAP_NO_ATTRS;
    char *attributes[] = {none, NULL};
    struct timeval time = gatepost_ldap_time(milliseconds);
    return ldap_search_ext(ld, base, LDAP_SCOPE_SUBTREE, filter, attributes, 0, NULL, NULL, &time, 2, message);
}

/// The next answer to a message: its type, 0 if there is none in time, -1 after a failure.
static inline int gatepost_ldap_answer(LDAP *ld, int message, long milliseconds, LDAPMessage **answer) {
    struct timeval time = gatepost_ldap_time(milliseconds);
    return ldap_result(ld, message, LDAP_MSG_ONE, &time, answer);
}

/// Makes the handshake of TLS, and waits for it: of a socket that is non-blocking libldap 2.5 would read again and again.
static inline int gatepost_ldap_encrypt(LDAP *ld) {
    Sockbuf *buffer = NULL;
    struct timeval none = {.tv_sec = -1};
    int code = ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &none);
    if (code == LDAP_OPT_SUCCESS) code = ldap_get_option(ld, LDAP_OPT_SOCKBUF, &buffer);
    if (code != LDAP_OPT_SUCCESS || buffer == NULL) return LDAP_LOCAL_ERROR;
    return ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_NONBLOCK, NULL) < 0 ? LDAP_LOCAL_ERROR : ldap_install_tls(ld);
}

/// Limits what is taken of one message of the server, and makes reads and writes return at once.
static inline int gatepost_ldap_bound(LDAP *ld, ber_len_t octets) {
    Sockbuf *buffer = NULL;
    if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &buffer) != LDAP_OPT_SUCCESS || buffer == NULL) return -1;
    if (ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &octets) < 0) return -1;
    return ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_NONBLOCK, buffer) < 0 ? -1 : 0;
}
