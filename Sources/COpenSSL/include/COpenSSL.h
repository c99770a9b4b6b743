// The whole bridge to OpenSSL's libcrypto: certificates are read, named and validated, and messages signed. No type of
// OpenSSL leaves it, so its headers never meet those of BoringSSL, which have the same names.
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

/// A key for signatures, public or with its private part: an EVP_PKEY, which several threads may use at once.
typedef struct gatepost_key gatepost_key;

enum {
    gatepost_key_rsa = 1,
    gatepost_key_ed25519 = 2,
};

/// Reads a public RSA key (DER): a SubjectPublicKeyInfo, or an RSAPublicKey of RFC 8017; NULL if it is neither, or if
/// octets follow it.
gatepost_key *gatepost_key_read_rsa(const uint8_t *der, size_t count);
/// A public Ed25519 key from its 32 octets (RFC 8032); NULL if they are not 32.
gatepost_key *gatepost_key_read_ed25519(const uint8_t *octets, size_t count);
/// Reads a private key (PEM) without a password; NULL if it cannot be read, or if it is neither RSA nor Ed25519.
gatepost_key *gatepost_key_read_private(const uint8_t *pem, size_t count);
/// Makes a private key of a kind; `bits` counts for RSA. NULL if that cannot be.
gatepost_key *gatepost_key_generate(int kind, size_t bits);
void gatepost_key_free(gatepost_key *key);

int gatepost_key_kind(const gatepost_key *key);
int gatepost_key_bits(const gatepost_key *key);

/// Whether `signature` is one of a SHA-256 digest (32 octets): RSASSA-PKCS1-v1_5 with an RSA key, and PureEdDSA over the
/// digest with an Ed25519 key (RFC 8463 §3).
int gatepost_key_verify(gatepost_key *key, const uint8_t *digest, const uint8_t *signature, size_t count);
/// Signs a SHA-256 digest (32 octets); returns the length, -1 if that cannot be or it has more than `size` octets.
long gatepost_key_sign(gatepost_key *key, const uint8_t *digest, uint8_t *room, size_t size);

/// Writes the public part: of RSA the SubjectPublicKeyInfo in DER, of Ed25519 its 32 octets. Returns its length; -1 if
/// it has more than `size` octets.
long gatepost_key_write_public(const gatepost_key *key, uint8_t *room, size_t size);
/// Writes the key as PEM: the private key in PKCS #8, or the public one. Returns its length; -1 if it has more than
/// `size` octets.
long gatepost_key_write_pem(const gatepost_key *key, int is_private, uint8_t *room, size_t size);
