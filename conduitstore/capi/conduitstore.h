/* conduitstore: an embedded database of ordered byte keys in many trees.
 *
 * Link with -lconduitstore, the shared library beside this header. It carries a Python interpreter,
 * which starts at the first call; any thread may call.
 *
 * Every call gives a status. CONDUITSTORE_OK is 0, CONDUITSTORE_ABSENT is 1 and no error, errors are
 * negative; conduitstore_error_message() then says more. What a call hands out is the caller's to
 * free with conduitstore_free. Trees are named by UTF-8 text ending in a zero byte and are made by
 * the first call that names them; keys have 1 to 2,048 bytes, values 0 to 64 MiB.
 */
#ifndef CONDUITSTORE_H
#define CONDUITSTORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONDUITSTORE_OK = 0,
    CONDUITSTORE_ABSENT = 1,              /* no such key, or the scan is at its end */
    CONDUITSTORE_INVALID_ARGUMENT = -1,   /* fix the call; nothing was changed */
    CONDUITSTORE_LOCKED = -2,             /* somebody else has the store open */
    CONDUITSTORE_CORRUPTED = -3,          /* bytes on the disk are not what was written */
    CONDUITSTORE_UNSUPPORTED_FORMAT = -4, /* not a store, or a newer release's */
    CONDUITSTORE_STORE_FULL = -5,         /* no space; that write failed whole */
    CONDUITSTORE_POISONED = -6,           /* close the store and open it again */
    CONDUITSTORE_CLOSED = -7,             /* the handle is closed, or never was one */
    CONDUITSTORE_FAILED = -8              /* anything else */
};

typedef uint64_t conduitstore_db;   /* never 0 */
typedef uint64_t conduitstore_scan; /* never 0 */

/* Open the store in a directory, making it where there is none. */
int conduitstore_open(const char *path, conduitstore_db *db);

/* Write everything out and let go of the directory; its scans end. */
int conduitstore_close(conduitstore_db db);

/* Return once everything written so far would survive power loss. */
int conduitstore_flush(conduitstore_db db);

/* Read one value into memory of its own; CONDUITSTORE_ABSENT leaves value and size alone. */
int conduitstore_get(conduitstore_db db, const char *tree, const uint8_t *key, size_t key_bytes,
                     uint8_t **value, size_t *value_bytes);

/* Set one value. It survives the death of the process when the call returns. */
int conduitstore_insert(conduitstore_db db, const char *tree, const uint8_t *key, size_t key_bytes,
                        const uint8_t *value, size_t value_bytes);

/* Delete one key; CONDUITSTORE_ABSENT where it was not there. */
int conduitstore_remove(conduitstore_db db, const char *tree, const uint8_t *key, size_t key_bytes);

/* Walk the keys under a prefix in order, as they are at this moment; no prefix: all of them. */
int conduitstore_scan_prefix(conduitstore_db db, const char *tree, const uint8_t *prefix,
                             size_t prefix_bytes, conduitstore_scan *scan);

/* The next entry; CONDUITSTORE_ABSENT at the end, which also frees the scan. */
int conduitstore_scan_next(conduitstore_scan scan, uint8_t **key, size_t *key_bytes,
                           uint8_t **value, size_t *value_bytes);

/* Free a scan before its end. */
int conduitstore_scan_close(conduitstore_scan scan);

/* What the last error of this thread was; valid until its next call. Never NULL. */
const char *conduitstore_error_message(void);

/* Free what a call handed out; NULL is fine. */
void conduitstore_free(void *memory);

#ifdef __cplusplus
}
#endif

#endif
