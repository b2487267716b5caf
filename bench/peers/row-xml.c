#define _GNU_SOURCE
/*
 * The extraction as a C program does it: one unbuffered result, each row printed as row XML, 1,000 rows a file, written as .tmp and
 * renamed. Values are not escaped and nothing is synced, as in the reference system.
 *
 *     MYSQL_PWD=... row-xml PORT DATABASE SELECT FIELDS FOLDER ROWS_PER_FILE
 *
 * Prints the number of rows.
 */
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 256, BUFFER = 1 << 20 };

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "row-xml: %s: %s\n", what, why);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 7) fail("usage", "PORT DATABASE SELECT FIELDS FOLDER ROWS_PER_FILE");
    char *names[MAX_FIELDS];
    size_t lengths[MAX_FIELDS];
    unsigned fields = 0;
    for (char *name = strtok(argv[4], ","); name != NULL && fields < MAX_FIELDS; name = strtok(NULL, ",")) {
        names[fields] = name;
        lengths[fields++] = strlen(name);
    }
    const long per_file = atol(argv[6]);

    MYSQL *db = mysql_init(NULL);
    mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!mysql_real_connect(db, "127.0.0.1", "root", getenv("MYSQL_PWD"), argv[2], (unsigned)atoi(argv[1]), NULL, 0))
        fail("connect", mysql_error(db));
    if (mysql_query(db, argv[3]) != 0) fail("query", mysql_error(db));
    MYSQL_RES *result = mysql_use_result(db);
    if (result == NULL) fail("result", mysql_error(db));
    if (mysql_num_fields(result) != fields) fail("fields", "not as many as columns");

    char *buffer = malloc(BUFFER), path[4096], temporary[4200];
    FILE *file = NULL;
    long rows = 0, files = 0;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
        const unsigned long *sizes = mysql_fetch_lengths(result);
        if (file == NULL) {
            snprintf(path, sizeof path, "%s/P_%ld.xml", argv[5], ++files);
            snprintf(temporary, sizeof temporary, "%s.tmp", path);
            if ((file = fopen(temporary, "w")) == NULL) fail("open", temporary);
            setvbuf(file, buffer, _IOFBF, BUFFER);
            fputs_unlocked("<data>\n", file);
        }
        for (unsigned i = 0; i < fields; i++) {
            putc_unlocked('<', file);
            fwrite_unlocked(names[i], 1, lengths[i], file);
            putc_unlocked('>', file);
            if (row[i] != NULL) fwrite_unlocked(row[i], 1, sizes[i], file);
            fputs_unlocked("</", file);
            fwrite_unlocked(names[i], 1, lengths[i], file);
            putc_unlocked('>', file);
        }
        fputs_unlocked("<endl/>\n", file);
        rows++;
        if (per_file > 0 && rows % per_file == 0) {
            fputs_unlocked("</data>\n", file);
            if (fclose(file) != 0 || rename(temporary, path) != 0) fail("write", path);
            file = NULL;
        }
    }
    if (mysql_errno(db) != 0) fail("fetch", mysql_error(db));
    if (file != NULL) {
        fputs_unlocked("</data>\n", file);
        if (fclose(file) != 0 || rename(temporary, path) != 0) fail("write", path);
    }
    mysql_free_result(result);
    mysql_close(db);
    printf("%ld\n", rows);
    return 0;
}
