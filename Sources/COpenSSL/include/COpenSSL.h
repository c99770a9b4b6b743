// The whole bridge to OpenSSL's libcrypto: certificates are read, named and validated. No type of OpenSSL leaves it,
// so its headers never meet those of BoringSSL, which have the same names.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// Trust anchors: an X509_STORE, which several threads may use at once once it is filled.
typedef struct gatepost_anchors gatepost_anchors;

/// NULL if there is no memory.
gatepost_anchors *gatepost_anchors_new(void);
void gatepost_anchors_free(gatepost_anchors *anchors);

/// Adds a certificate (DER); 0 if it cannot be read.
int gatepost_anchors_add(gatepost_anchors *anchors, const uint8_t *der, size_t count);

enum {
    gatepost_purpose_client = 0,
    gatepost_purpose_server = 1,
};

/// Validates the path from the first certificate of a chain to an anchor (RFC 5280 §6).
///
/// `chain` has the certificates (DER) one behind the other, `lengths` the length of each. `name` is the DNS name that
/// the first must have; NULL: any. Returns NULL if the path is valid, else why not: a text that is never freed.
const char *gatepost_anchors_validate(gatepost_anchors *anchors, const uint8_t *chain, const size_t *lengths,
                                      size_t count, int purpose, const char *name);

/// Writes the subject (`is_issuer` 0) or the issuer of a certificate (DER) in the form of RFC 4514, in UTF-8.
///
/// Returns its length; -1 if the certificate cannot be read or the name has more than `size` octets.
long gatepost_certificate_name(const uint8_t *der, size_t count, int is_issuer, char *room, size_t size);

/// Writes the SubjectPublicKeyInfo of a certificate (DER) in DER.
///
/// Returns its length; -1 if the certificate cannot be read or that has more than `size` octets.
long gatepost_certificate_key(const uint8_t *der, size_t count, uint8_t *room, size_t size);
