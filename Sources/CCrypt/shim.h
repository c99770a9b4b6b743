#include <crypt.h>
#include <string.h>

/// Overwrites `count` octets that nothing reads any more, which a compiler may leave out of memset(3).
static inline void gatepost_wipe(void *octets, size_t count) { explicit_bzero(octets, count); }
