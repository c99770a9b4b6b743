// What the listing of archives needs of libarchive, and of locale(7).
#define _GNU_SOURCE 1
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

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
