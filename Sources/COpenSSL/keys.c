#include "COpenSSL.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

enum { digest_octets = 32 };

static EVP_PKEY *pkey_of(const gatepost_key *key) { return (EVP_PKEY *)key; }

/// A key of one of our kinds; else it is freed.
static gatepost_key *accepted(EVP_PKEY *pkey) {
    if (pkey != NULL && gatepost_key_kind((gatepost_key *)pkey) == 0) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_clear_error();
    return (gatepost_key *)pkey;
}

/// What was read, if nothing follows it and it is an RSA key.
static EVP_PKEY *whole_rsa(EVP_PKEY *pkey, int is_whole) {
    if (pkey != NULL && (!is_whole || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_clear_error();
    return pkey;
}

gatepost_key *gatepost_key_read_rsa(const uint8_t *der, size_t count) {
    if (count == 0 || count > LONG_MAX) return NULL;
    const uint8_t *end = der;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &end, (long)count);
    pkey = whole_rsa(pkey, end == der + count);
    if (pkey == NULL) {
        end = der;
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &end, (long)count);
        pkey = whole_rsa(pkey, end == der + count);
    }
    return (gatepost_key *)pkey;
}

gatepost_key *gatepost_key_read_ed25519(const uint8_t *octets, size_t count) {
    return accepted(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, octets, count));
}

/// A key with a password is not read: nobody is there to be asked.
static int no_password(char *room, int size, int is_writing, void *context) {
    (void)room, (void)size, (void)is_writing, (void)context;
    return -1;
}

gatepost_key *gatepost_key_read_private(const uint8_t *pem, size_t count) {
    if (count > INT_MAX) return NULL;
    BIO *memory = BIO_new_mem_buf(pem, (int)count);
    if (memory == NULL) return NULL;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(memory, NULL, no_password, NULL);
    BIO_free(memory);
    return accepted(pkey);
}

gatepost_key *gatepost_key_generate(int kind, size_t bits) {
    switch (kind) {
    case gatepost_key_rsa: return accepted(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits));
    case gatepost_key_ed25519: return accepted(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    default: return NULL;
    }
}

void gatepost_key_free(gatepost_key *key) { EVP_PKEY_free(pkey_of(key)); }

int gatepost_key_kind(const gatepost_key *key) {
    switch (EVP_PKEY_get_base_id(pkey_of(key))) {
    case EVP_PKEY_RSA: return gatepost_key_rsa;
    case EVP_PKEY_ED25519: return gatepost_key_ed25519;
    default: return 0;
    }
}

int gatepost_key_bits(const gatepost_key *key) { return EVP_PKEY_get_bits(pkey_of(key)); }

/// A context to sign or verify digests with an RSA key; NULL if that cannot be.
static EVP_PKEY_CTX *rsa_context(gatepost_key *key, int (*begin)(EVP_PKEY_CTX *)) {
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey_of(key), NULL);
    if (context == NULL) return NULL;
    if (begin(context) > 0 && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0 &&
        EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) > 0)
        return context;
    EVP_PKEY_CTX_free(context);
    return NULL;
}

int gatepost_key_verify(gatepost_key *key, const uint8_t *digest, const uint8_t *signature, size_t count) {
    int verified = 0;
    if (gatepost_key_kind(key) == gatepost_key_rsa) {
        EVP_PKEY_CTX *context = rsa_context(key, EVP_PKEY_verify_init);
        verified = context != NULL && EVP_PKEY_verify(context, signature, count, digest, digest_octets) == 1;
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        verified = context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey_of(key)) == 1 &&
                   EVP_DigestVerify(context, signature, count, digest, digest_octets) == 1;
        EVP_MD_CTX_free(context);
    }
    ERR_clear_error();
    return verified;
}

long gatepost_key_sign(gatepost_key *key, const uint8_t *digest, uint8_t *room, size_t size) {
    size_t length = size;
    int is_signed = 0;
    if (gatepost_key_kind(key) == gatepost_key_rsa) {
        EVP_PKEY_CTX *context = rsa_context(key, EVP_PKEY_sign_init);
        is_signed = context != NULL && EVP_PKEY_sign(context, room, &length, digest, digest_octets) == 1;
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        is_signed = context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, pkey_of(key)) == 1 &&
                    EVP_DigestSign(context, room, &length, digest, digest_octets) == 1;
        EVP_MD_CTX_free(context);
    }
    ERR_clear_error();
    return is_signed && length <= LONG_MAX ? (long)length : -1;
}

long gatepost_key_write_public(const gatepost_key *key, uint8_t *room, size_t size) {
    long length = -1;
    if (gatepost_key_kind(key) == gatepost_key_rsa) {
        int needed = i2d_PUBKEY(pkey_of(key), NULL);
        if (needed > 0 && (size_t)needed <= size) length = i2d_PUBKEY(pkey_of(key), &room);
    } else {
        size_t count = size;
        if (EVP_PKEY_get_raw_public_key(pkey_of(key), room, &count) == 1) length = (long)count;
    }
    ERR_clear_error();
    return length;
}

long gatepost_key_write_pem(const gatepost_key *key, int is_private, uint8_t *room, size_t size) {
    long length = -1;
    BIO *memory = BIO_new(is_private ? BIO_s_secmem() : BIO_s_mem());
    if (memory == NULL) return -1;
    int is_written = is_private ? PEM_write_bio_PKCS8PrivateKey(memory, pkey_of(key), NULL, NULL, 0, NULL, NULL)
                                : PEM_write_bio_PUBKEY(memory, pkey_of(key));
    if (is_written == 1) {
        char *text = NULL;
        length = BIO_get_mem_data(memory, &text);
        if (length < 0 || (size_t)length > size) length = -1;
        if (length > 0) memcpy(room, text, (size_t)length);
    }
    BIO_free(memory);
    ERR_clear_error();
    return length;
}
