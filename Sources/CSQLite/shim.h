#include <sqlite3.h>

/// Binds `count` octets, which SQLite copies: its macro SQLITE_TRANSIENT is a cast that Swift does not import.
static inline int gatepost_bind_octets(sqlite3_stmt *statement, int index, const void *octets, int count) {
    // A null pointer would bind NULL.
    return count == 0 ? sqlite3_bind_zeroblob(statement, index, 0)
                      : sqlite3_bind_blob(statement, index, octets, count, SQLITE_TRANSIENT);
}
