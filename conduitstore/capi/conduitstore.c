/* The public functions: each calls its Python half and tells "Python did not start" from success.
 *
 * cffi gives 0 for every call when the embedded interpreter could not be started, so the Python half
 * gives status + SHIFT, which is never 0.
 */
#include <stdlib.h>

#include "conduitstore.h"

#define EXPORT __attribute__((visibility("default")))

static int status_of(int shifted) {
    return shifted == 0 ? CONDUITSTORE_FAILED : shifted - CONDUITSTORE_SHIFT;
}

EXPORT int conduitstore_open(const char *path, conduitstore_db *db) {
    return status_of(py_open(path, db));
}

EXPORT int conduitstore_close(conduitstore_db db) { return status_of(py_close(db)); }

EXPORT int conduitstore_flush(conduitstore_db db) { return status_of(py_flush(db)); }

EXPORT int conduitstore_get(conduitstore_db db, const char *tree, const uint8_t *key,
                            size_t key_bytes, uint8_t **value, size_t *value_bytes) {
    return status_of(py_get(db, tree, key, key_bytes, value, value_bytes));
}

EXPORT int conduitstore_insert(conduitstore_db db, const char *tree, const uint8_t *key,
                               size_t key_bytes, const uint8_t *value, size_t value_bytes) {
    return status_of(py_insert(db, tree, key, key_bytes, value, value_bytes));
}

EXPORT int conduitstore_remove(conduitstore_db db, const char *tree, const uint8_t *key,
                               size_t key_bytes) {
    return status_of(py_remove(db, tree, key, key_bytes));
}

EXPORT int conduitstore_scan_prefix(conduitstore_db db, const char *tree, const uint8_t *prefix,
                                    size_t prefix_bytes, conduitstore_scan *scan) {
    return status_of(py_scan_prefix(db, tree, prefix, prefix_bytes, scan));
}

EXPORT int conduitstore_scan_next(conduitstore_scan scan, uint8_t **key, size_t *key_bytes,
                                  uint8_t **value, size_t *value_bytes) {
    return status_of(py_scan_next(scan, key, key_bytes, value, value_bytes));
}

EXPORT int conduitstore_scan_close(conduitstore_scan scan) { return status_of(py_scan_close(scan)); }

EXPORT const char *conduitstore_error_message(void) {
    const char *message = py_error_message();
    return message ? message : "the embedded Python did not start: standard error says why";
}

EXPORT void conduitstore_free(void *memory) { free(memory); }
