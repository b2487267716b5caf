#define _GNU_SOURCE
/*
 * The extraction as a C program does it: one unbuffered result, each row printed as row XML, 1,000 rows a file, written as .tmp and
 * renamed. Values are not escaped and nothing is synced, as in the reference system.
 *
 *     MYSQL_PWD=... row-xml MODE PORT DATABASE SELECT FIELDS FOLDER ROWS_PER_FILE
 *
 * MODE `prepared`: as the reference does it (spec data-centre 7.2): a prepared statement whose columns are bound as text, each value
 * printed by fprintf. MODE `plain`: as fast as it goes in C: the text protocol, each value written as the bytes it came in.
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

/* What the reference binds: the longest value it can take. */
enum { VALUE_BYTES = 2000 };

static char *names[MAX_FIELDS];
static size_t lengths[MAX_FIELDS];
static unsigned fields;

/* The file that rows are written to. */
static char *buffer, path[4096], temporary[4200];
static const char *folder;
static FILE *file;
static long per_file, rows, files;

static void begin_row(void)
{
    if (file != NULL) return;
    snprintf(path, sizeof path, "%s/P_%ld.xml", folder, ++files);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if ((file = fopen(temporary, "w")) == NULL) fail("open", temporary);
    setvbuf(file, buffer, _IOFBF, BUFFER);
    fputs_unlocked("<data>\n", file);
}

static void end_file(void)
{
    if (file == NULL) return;
    fputs_unlocked("</data>\n", file);
    if (fclose(file) != 0 || rename(temporary, path) != 0) fail("write", path);
    file = NULL;
}

static void end_row(void)
{
    fputs_unlocked("<endl/>\n", file);
    rows++;
    if (per_file > 0 && rows % per_file == 0) end_file();
}

static void plain(MYSQL *db, const char *select)
{
    if (mysql_query(db, select) != 0) fail("query", mysql_error(db));
    MYSQL_RES *result = mysql_use_result(db);
    if (result == NULL) fail("result", mysql_error(db));
    if (mysql_num_fields(result) != fields) fail("fields", "not as many as columns");
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
        const unsigned long *sizes = mysql_fetch_lengths(result);
        begin_row();
        for (unsigned i = 0; i < fields; i++) {
            putc_unlocked('<', file);
            fwrite_unlocked(names[i], 1, lengths[i], file);
            putc_unlocked('>', file);
            if (row[i] != NULL) fwrite_unlocked(row[i], 1, sizes[i], file);
            fputs_unlocked("</", file);
            fwrite_unlocked(names[i], 1, lengths[i], file);
            putc_unlocked('>', file);
        }
        end_row();
    }
    if (mysql_errno(db) != 0) fail("fetch", mysql_error(db));
    mysql_free_result(result);
}

static void prepared(MYSQL *db, const char *select)
{
    MYSQL_STMT *statement = mysql_stmt_init(db);
    if (mysql_stmt_prepare(statement, select, strlen(select)) != 0) fail("prepare", mysql_stmt_error(statement));
    if (mysql_stmt_field_count(statement) != fields) fail("fields", "not as many as columns");
    static MYSQL_BIND binds[MAX_FIELDS];
    static my_bool empty[MAX_FIELDS];
    static char values[MAX_FIELDS][VALUE_BYTES + 1];
    for (unsigned i = 0; i < fields; i++) {
        binds[i].buffer_type = MYSQL_TYPE_VAR_STRING;
        binds[i].buffer = values[i];
        binds[i].buffer_length = VALUE_BYTES;
        binds[i].is_null = &empty[i];
    }
    if (mysql_stmt_execute(statement) != 0) fail("execute", mysql_stmt_error(statement));
    if (mysql_stmt_bind_result(statement, binds) != 0) fail("bind", mysql_stmt_error(statement));
    for (;;) {
        const int got = mysql_stmt_fetch(statement);
        if (got == MYSQL_NO_DATA) break;
        if (got != 0) fail("fetch", mysql_stmt_error(statement));
        begin_row();
        for (unsigned i = 0; i < fields; i++)
            fprintf(file, "<%s>%s</%s>", names[i], empty[i] ? "" : values[i], names[i]);
        end_row();
    }
    mysql_stmt_close(statement);
}

int main(int argc, char **argv)
{
    if (argc != 8) fail("usage", "MODE PORT DATABASE SELECT FIELDS FOLDER ROWS_PER_FILE");
    for (char *name = strtok(argv[5], ","); name != NULL && fields < MAX_FIELDS; name = strtok(NULL, ",")) {
        names[fields] = name;
        lengths[fields++] = strlen(name);
    }
    folder = argv[6];
    per_file = atol(argv[7]);
    buffer = malloc(BUFFER);

    MYSQL *db = mysql_init(NULL);
    mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!mysql_real_connect(db, "127.0.0.1", "root", getenv("MYSQL_PWD"), argv[3], (unsigned)atoi(argv[2]), NULL, 0))
        fail("connect", mysql_error(db));
    if (strcmp(argv[1], "prepared") == 0) prepared(db, argv[4]);
    else if (strcmp(argv[1], "plain") == 0) plain(db, argv[4]);
    else fail("mode", "plain or prepared");
    end_file();
    mysql_close(db);
    printf("%ld\n", rows);
    return 0;
}
