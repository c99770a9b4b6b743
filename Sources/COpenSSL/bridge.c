#include "COpenSSL.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

static X509_STORE *store_of(gatepost_anchors *anchors) { return (X509_STORE *)anchors; }

/// A certificate; NULL if it cannot be read, or if octets follow it.
static X509 *read_certificate(const uint8_t *der, size_t count) {
    if (count > LONG_MAX) return NULL;
    const uint8_t *end = der;
    X509 *certificate = d2i_X509(NULL, &end, (long)count);
    if (certificate != NULL && end != der + count) {
        X509_free(certificate);
        certificate = NULL;
    }
    ERR_clear_error();
    return certificate;
}

gatepost_anchors *gatepost_anchors_new(void) {
    X509_STORE *store = X509_STORE_new();
    // A certificate that is an anchor ends the path, even if another authority signed it.
    if (store != NULL) X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return (gatepost_anchors *)store;
}

void gatepost_anchors_free(gatepost_anchors *anchors) { X509_STORE_free(store_of(anchors)); }

int gatepost_anchors_add(gatepost_anchors *anchors, const uint8_t *der, size_t count) {
    X509 *certificate = read_certificate(der, count);
    if (certificate == NULL) return 0;
    int added = X509_STORE_add_cert(store_of(anchors), certificate);
    X509_free(certificate);
    ERR_clear_error();
    return added;
}

/// Sets what the path is for; 0 if that cannot be.
static int set_purpose(X509_STORE_CTX *context, int purpose, const char *name) {
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    // 80 bits: no MD5, no SHA-1, no RSA key below 1024 bits.
    X509_VERIFY_PARAM_set_auth_level(parameters, 1);
    int wanted = purpose == gatepost_purpose_client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER;
    if (!X509_VERIFY_PARAM_set_purpose(parameters, wanted)) return 0;
    if (name == NULL) return 1;
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(parameters, name, strlen(name));
}

const char *gatepost_anchors_validate(gatepost_anchors *anchors, const uint8_t *chain, const size_t *lengths,
                                      size_t count, int purpose, const char *name) {
    const char *problem = "out of memory";
    X509 *leaf = NULL;
    STACK_OF(X509) *others = sk_X509_new_null();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (others == NULL || context == NULL) goto done;
    if (count == 0) {
        problem = "there is no certificate";
        goto done;
    }
    for (size_t index = 0; index < count; chain += lengths[index], index += 1) {
        X509 *certificate = read_certificate(chain, lengths[index]);
        if (certificate == NULL) {
            problem = "a certificate cannot be read";
            goto done;
        }
        if (index == 0) {
            leaf = certificate;
        } else if (!sk_X509_push(others, certificate)) {
            X509_free(certificate);
            goto done;
        }
    }
    if (!X509_STORE_CTX_init(context, store_of(anchors), leaf, others)) goto done;
    if (!set_purpose(context, purpose, name)) {
        problem = "the name cannot be checked";
        goto done;
    }
    if (X509_verify_cert(context) == 1) {
        problem = NULL;
    } else {
        int error = X509_STORE_CTX_get_error(context);
        // 0 would say that all is well.
        problem = error == X509_V_OK ? "it cannot be validated" : X509_verify_cert_error_string(error);
    }
done:
    X509_STORE_CTX_free(context);
    sk_X509_pop_free(others, X509_free);
    X509_free(leaf);
    ERR_clear_error();
    return problem;
}

long gatepost_certificate_name(const uint8_t *der, size_t count, int is_issuer, char *room, size_t size) {
    long length = -1;
    X509 *certificate = read_certificate(der, count);
    BIO *memory = BIO_new(BIO_s_mem());
    if (certificate != NULL && memory != NULL) {
        const X509_NAME *name = is_issuer ? X509_get_issuer_name(certificate) : X509_get_subject_name(certificate);
        // Letters stay letters; control characters and what separates parts are escaped.
        unsigned long form = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
        char *text = NULL;
        if (X509_NAME_print_ex(memory, name, 0, form) >= 0) {
            length = BIO_get_mem_data(memory, &text);
            if (length < 0 || (size_t)length > size) length = -1;
        }
        if (length > 0) memcpy(room, text, (size_t)length);
    }
    BIO_free(memory);
    X509_free(certificate);
    ERR_clear_error();
    return length;
}

long gatepost_certificate_key(const uint8_t *der, size_t count, uint8_t *room, size_t size) {
    long length = -1;
    X509 *certificate = read_certificate(der, count);
    if (certificate != NULL) {
        X509_PUBKEY *key = X509_get_X509_PUBKEY(certificate);
        int needed = i2d_X509_PUBKEY(key, NULL);
        if (needed > 0 && (size_t)needed <= size) length = i2d_X509_PUBKEY(key, &room);
    }
    X509_free(certificate);
    ERR_clear_error();
    return length;
}
