// What MaxMind needs of libmaxminddb: the data that an address has, by the names on the way to a value. Unions and bit
// fields stay in here.
#include <maxminddb.h>
#include <netinet/in.h>
#include <string.h>

/// Looks up 4 or 16 octets: 1 if there is an entry, 0 if not, -1 if the file is damaged.
static inline int gatepost_mmdb_find(const MMDB_s *db, const unsigned char *octets, int count, MMDB_entry_s *entry) {
    struct sockaddr_storage storage;
    memset(&storage, 0, sizeof storage);
    if (count == 4) {
        struct sockaddr_in *address = (struct sockaddr_in *)&storage;
        address->sin_family = AF_INET;
        memcpy(&address->sin_addr, octets, 4);
    } else if (count == 16) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&storage;
        address->sin6_family = AF_INET6;
        memcpy(&address->sin6_addr, octets, 16);
    } else {
        return 0;
    }
    int code = MMDB_SUCCESS;
    MMDB_lookup_result_s result = MMDB_lookup_sockaddr(db, (const struct sockaddr *)&storage, &code);
    if (code == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR) return 0;
    if (code != MMDB_SUCCESS) return -1;
    if (!result.found_entry) return 0;
    *entry = result.entry;
    return 1;
}

/// Finds a value by up to three names, of which the later may be null.
static inline int gatepost_mmdb_value(
    MMDB_entry_s *entry, MMDB_entry_data_s *data, const char *first, const char *second, const char *third
) {
    const char *path[] = {first, second, third, NULL};
    return MMDB_aget_value(entry, data, path) == MMDB_SUCCESS && data->has_data;
}

/// A text, which is in the file and has no NUL at its end; null if there is none.
static inline const char *gatepost_mmdb_text(
    MMDB_entry_s *entry, const char *first, const char *second, const char *third, unsigned int *count
) {
    MMDB_entry_data_s data;
    if (!gatepost_mmdb_value(entry, &data, first, second, third)) return NULL;
    if (data.type != MMDB_DATA_TYPE_UTF8_STRING) return NULL;
    *count = data.data_size;
    return data.utf8_string;
}

/// A number: 1 if there is one.
static inline int gatepost_mmdb_number(MMDB_entry_s *entry, const char *first, const char *second, double *number) {
    MMDB_entry_data_s data;
    if (!gatepost_mmdb_value(entry, &data, first, second, NULL)) return 0;
    switch (data.type) {
    case MMDB_DATA_TYPE_DOUBLE: *number = data.double_value; return 1;
    case MMDB_DATA_TYPE_FLOAT: *number = data.float_value; return 1;
    case MMDB_DATA_TYPE_UINT16: *number = data.uint16; return 1;
    case MMDB_DATA_TYPE_UINT32: *number = data.uint32; return 1;
    case MMDB_DATA_TYPE_INT32: *number = data.int32; return 1;
    default: return 0;
    }
}
