/* A tour in C: put notes into a cabinet, look one up, list a drawer, take one out.
 *
 *     conduitstore build-capi capi
 *     cc -Icapi examples/filing_cabinet.c -Lcapi -lconduitstore -Wl,-rpath,$PWD/capi -o cabinet
 *     ./cabinet cabinet-data
 */
#include <stdio.h>
#include <string.h>

#include "conduitstore.h"

static const char *const NOTES[][2] = {
    {"todo:milk", "two litres"},
    {"todo:post", "send the parcel"},
    {"todo:bike", "mend the tyre"},
    {"note:keys", "the spare one is at Alice's"},
};

static int check(int status) {
    if (status < 0) fprintf(stderr, "%s\n", conduitstore_error_message());
    return status;
}

static int list(conduitstore_db db, const char *prefix) {
    conduitstore_scan scan;
    uint8_t *key, *value;
    size_t key_bytes, value_bytes;
    int status = conduitstore_scan_prefix(db, "cabinet", (const uint8_t *)prefix, strlen(prefix), &scan);
    while (status == CONDUITSTORE_OK) {
        status = conduitstore_scan_next(scan, &key, &key_bytes, &value, &value_bytes);
        if (status != CONDUITSTORE_OK) break;
        printf("  %.*s = %.*s\n", (int)key_bytes, key, (int)value_bytes, value);
        conduitstore_free(key);
        conduitstore_free(value);
    }
    return status;
}

int main(int argc, char **argv) {
    conduitstore_db db;
    uint8_t *value;
    size_t value_bytes;
    if (argc != 2) return 2;
    if (check(conduitstore_open(argv[1], &db)) < 0) return 1;
    for (size_t i = 0; i < sizeof NOTES / sizeof *NOTES; i++) {
        const uint8_t *key = (const uint8_t *)NOTES[i][0], *note = (const uint8_t *)NOTES[i][1];
        if (check(conduitstore_insert(db, "cabinet", key, strlen(NOTES[i][0]), note, strlen(NOTES[i][1]))) < 0)
            return 1;
    }
    if (check(conduitstore_get(db, "cabinet", (const uint8_t *)"note:keys", 9, &value, &value_bytes)) != 0)
        return 1;
    printf("note:keys says: %.*s\n", (int)value_bytes, value);
    conduitstore_free(value);
    printf("to do:\n");
    if (check(list(db, "todo:")) < 0) return 1;
    if (check(conduitstore_remove(db, "cabinet", (const uint8_t *)"todo:milk", 9)) != CONDUITSTORE_OK)
        return 1;
    printf("left after the milk:\n");
    if (check(list(db, "")) < 0) return 1;
    if (conduitstore_get(db, "cabinet", (const uint8_t *)"todo:milk", 9, &value, &value_bytes) !=
        CONDUITSTORE_ABSENT)
        return 1;
    if (conduitstore_get(db, "cabinet", NULL, 0, &value, &value_bytes) != CONDUITSTORE_INVALID_ARGUMENT)
        return 1;
    printf("an empty key: %s\n", conduitstore_error_message());
    if (check(conduitstore_flush(db)) < 0 || check(conduitstore_close(db)) < 0) return 1;
    return conduitstore_close(db) == CONDUITSTORE_CLOSED ? 0 : 1;
}
