// What SASLprep needs of GNU libidn.
#include <stringprep.h>

/// SASLprep (RFC 4013) of the text that stands in `octets`, in place, as a query; returns a Stringprep_rc.
static inline int gatepost_saslprep(char *octets, size_t room) {
    return stringprep(octets, room, 0, stringprep_saslprep);
}
