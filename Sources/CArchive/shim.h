// What the listing of archives needs of libarchive, and of locale(7).
#define _GNU_SOURCE 1
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/// An archive in memory that gives out its octets until a time is over.
///
/// To reach the next file, libarchive unpacks the one before to its end, within one call: this is the only place at
/// which that can be ended.
struct gatepost_source {
    const uint8_t *octets;
    size_t count;
    size_t position;
    /// Of CLOCK_MONOTONIC, in nanoseconds.
    int64_t deadline;
    /// Whether octets were refused because the time was over.
    int is_late;
};

static inline int64_t gatepost_monotonic(void) {
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/// So few octets at once that what they unpack to takes a fraction of a second; and so many that are given out in
/// any case, so that it is known whether they are an archive.
enum { gatepost_source_piece = 4096, gatepost_source_start = 65536 };

static inline la_ssize_t gatepost_source_read(struct archive *archive, void *context, const void **octets) {
    struct gatepost_source *source = (struct gatepost_source *)context;
    if (source->position >= gatepost_source_start && gatepost_monotonic() >= source->deadline) {
        source->is_late = 1;
        archive_set_error(archive, ETIMEDOUT, "the time is over");
        return ARCHIVE_FATAL;
    }
    size_t left = source->count - source->position;
    size_t piece = left < gatepost_source_piece ? left : gatepost_source_piece;
    *octets = source->octets + source->position;
    source->position += piece;
    return (la_ssize_t)piece;
}

static inline la_int64_t gatepost_source_skip(struct archive *archive, void *context, la_int64_t request) {
    (void)archive;
    struct gatepost_source *source = (struct gatepost_source *)context;
    size_t left = source->count - source->position;
    size_t step = request < 0 ? 0 : (uint64_t)request < left ? (size_t)request : left;
    source->position += step;
    return (la_int64_t)step;
}

static inline la_int64_t gatepost_source_seek(
    struct archive *archive, void *context, la_int64_t offset, int whence
) {
    (void)archive;
    struct gatepost_source *source = (struct gatepost_source *)context;
    size_t start = whence == SEEK_CUR ? source->position : whence == SEEK_END ? source->count : 0;
    int64_t place;
    if (__builtin_add_overflow((int64_t)start, offset, &place) || place < 0) return ARCHIVE_FATAL;
    source->position = (uint64_t)place < source->count ? (size_t)place : source->count;
    return (la_int64_t)source->position;
}

/// Opens what `source` has; it must stay where it is until the archive is freed.
static inline int gatepost_open(struct archive *archive, struct gatepost_source *source) {
    archive_read_set_read_callback(archive, gatepost_source_read);
    archive_read_set_skip_callback(archive, gatepost_source_skip);
    archive_read_set_seek_callback(archive, gatepost_source_seek);
    archive_read_set_callback_data(archive, source);
    return archive_read_open1(archive);
}

/// What this thread had before, and what it has now.
struct gatepost_locale {
    locale_t before;
    locale_t now;
};

/// Has this thread read names as UTF-8: in the locale C, libarchive gives none of a name beyond ASCII.
static inline struct gatepost_locale gatepost_begin_utf8(void) {
    struct gatepost_locale locale = {0, newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)};
    if (locale.now) { locale.before = uselocale(locale.now); }
    return locale;
}

/// Ends what `gatepost_begin_utf8` began.
static inline void gatepost_end_utf8(struct gatepost_locale locale) {
    if (!locale.now) { return; }
    uselocale(locale.before);
    freelocale(locale.now);
}
