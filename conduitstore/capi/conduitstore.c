/* The public functions: each calls its Python half and tells "Python did not start" from success.
 *
 * cffi gives 0 for every call when the embedded interpreter could not be started, so the Python half
 * gives status + SHIFT, which is never 0.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "conduitstore.h"

#define EXPORT __attribute__((visibility("default")))

static pthread_once_t is_started = PTHREAD_ONCE_INIT;

/* Python has to find cffi before it runs a line of ours: by its search path, set for just so long. */
static void start(void) {
    const char *found = getenv("PYTHONPATH");
    char *before = found ? strdup(found) : NULL;
    char *path = malloc(strlen(CONDUITSTORE_PATHS) + (before ? strlen(before) + 2 : 1));
    if (path) {
        strcpy(path, CONDUITSTORE_PATHS);
        if (before) strcat(strcat(path, ":"), before);
        setenv("PYTHONPATH", path, 1);
    }
    py_error_message();
    if (before) setenv("PYTHONPATH", before, 1);
    else unsetenv("PYTHONPATH");
    free(path);
    free(before);
}

/* A call into Python, which is started by the first. */
#define PYTHON(call) (pthread_once(&is_started, start), (call))

static int status_of(int shifted) {
    return shifted == 0 ? CONDUITSTORE_FAILED : shifted - CONDUITSTORE_SHIFT;
}

EXPORT int conduitstore_open(const char *path, conduitstore_db *db) {
    return status_of(PYTHON(py_open(path, db)));
}

EXPORT int conduitstore_close(conduitstore_db db) { return status_of(PYTHON(py_close(db))); }

EXPORT int conduitstore_flush(conduitstore_db db) { return status_of(PYTHON(py_flush(db))); }

EXPORT int conduitstore_get(conduitstore_db db, const char *tree, const uint8_t *key,
                            size_t key_bytes, uint8_t **value, size_t *value_bytes) {
    return status_of(PYTHON(py_get(db, tree, key, key_bytes, value, value_bytes)));
}

EXPORT int conduitstore_insert(conduitstore_db db, const char *tree, const uint8_t *key,
                               size_t key_bytes, const uint8_t *value, size_t value_bytes) {
    return status_of(PYTHON(py_insert(db, tree, key, key_bytes, value, value_bytes)));
}

EXPORT int conduitstore_remove(conduitstore_db db, const char *tree, const uint8_t *key,
                               size_t key_bytes) {
    return status_of(PYTHON(py_remove(db, tree, key, key_bytes)));
}

EXPORT int conduitstore_scan_prefix(conduitstore_db db, const char *tree, const uint8_t *prefix,
                                    size_t prefix_bytes, conduitstore_scan *scan) {
    return status_of(PYTHON(py_scan_prefix(db, tree, prefix, prefix_bytes, scan)));
}

EXPORT int conduitstore_scan_next(conduitstore_scan scan, uint8_t **key, size_t *key_bytes,
                                  uint8_t **value, size_t *value_bytes) {
    return status_of(PYTHON(py_scan_next(scan, key, key_bytes, value, value_bytes)));
}

EXPORT int conduitstore_scan_close(conduitstore_scan scan) {
    return status_of(PYTHON(py_scan_close(scan)));
}

EXPORT const char *conduitstore_error_message(void) {
    const char *message = PYTHON(py_error_message());
    return message ? message : "the embedded Python did not start: standard error says why";
}

EXPORT void conduitstore_free(void *memory) { free(memory); }
