/* Mutated lines of dftracer through the scanner, each in a block of exactly its size, and random calls through the positions, for
   sanitizers. The columns are of exactly two rows. Prints lines taken and refused.

   usage: events_driver SEED LINES */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/events.h"
#include "../../tracekit/_native/positions.h"
#include "chance.h"

static const char *LINES[] = {
    "{\"id\":\"3\",\"name\":\"open\",\"cat\":\"POSIX\",\"pid\":\"13\",\"tid\":\"27\",\"ts\":\"1698080323784880\",\"dur\":\"913\",\"ph\":\"X\","
    "\"args\":{\"hostname\":\"c\",\"ret\":18,\"flags\":66,\"fname\":\"/p/a.bat\",\"mode\":420}}\n",
    "{\"id\":5,\"name\":\"lseek64\",\"cat\":\"POSIX\",\"type\":3,\"pid\":13,\"tid\":27,\"ts\":1698080323784995,\"dur\":2,\"ph\":1,"
    "\"args\":{\"hhash\":\"68\",\"offset\":-4,\"whence\":1,\"filename\":\"/p/a.bat\",\"fd\":18}},\n",
    "{\"name\":\"FH\",\"ph\":4,\"args\":{\"hhash\":\"68\",\"name\":\"/d/\xc3\xa9\",\"value\":18446744073709551615}}\n",
    "{ \"name\" : \"read\" , \"cat\":\"POSIX\",\"ts\":1698080323785000.25,\"dur\":2.5,\"ph\":1,\"args\":{\"ret\":-1,\"errno\":5,\"fhash\":\"0b\"} }\r\n",
};

/* The rows that two lines gave. */
static int64_t scan(tk_events *events, const char *text, size_t length)
{
    tk_event_rows rows = {.capacity = 2, .columns = malloc(2 * TK_EVENT_COLUMNS * sizeof(int64_t))};
    tk_events_read(events, text, length, &rows);
    if (rows.position > length || rows.rows > 2)
        abort();
    free(rows.columns);
    return rows.rows;
}

enum { CALLS = 64 };

static void follow(tk_positions *positions)
{
    static const int64_t AMOUNTS[] = {0, 1, 4096, -1, -5000, INT64_MAX, INT64_MIN + 2, (int64_t)1 << 61};
    int64_t columns[6][CALLS], start[CALLS];
    for (int i = 0; i < CALLS; i++) {
        columns[0][i] = (int64_t)draw(TK_STEP_WRITE + 1);
        for (int column = 1; column < 5; column++)
            columns[column][i] = (int64_t)draw(draw(20) ? 40 : 100000) - 1;
        if (draw(3) == 0)
            columns[3][i] = TK_NO_DESCRIPTOR;
        int64_t amount = AMOUNTS[draw(sizeof AMOUNTS / sizeof AMOUNTS[0])];
        columns[5][i] = columns[0][i] != TK_STEP_SHIFT && amount < TK_POSITION_UNKNOWN ? 7 : amount;
    }
    tk_moves moves = {columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], start, CALLS};
    if (tk_positions_follow(positions, &moves) < 0)
        abort();
    for (int i = 0; i < CALLS; i++)
        if (start[i] < TK_POSITION_BEYOND)
            abort();
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    long taken = 0, refused = 0;
    tk_events events;
    tk_positions positions;
    sow(strtoull(arguments[1], NULL, 10));
    if (tk_events_open(&events) < 0 || tk_positions_open(&positions) < 0)
        return 2;
    for (long left = strtol(arguments[2], NULL, 10); left; left--) {
        const char *line = LINES[draw(sizeof LINES / sizeof LINES[0])];
        char first[512];
        size_t length = strlen(line);
        memcpy(first, line, length);
        size_t before = mutate(first, length, JSON_LETTERS), behind = mutate(memcpy(first + before, line, length), length, JSON_LETTERS);
        char *text = malloc(before + behind); /* exactly: a look beyond is found */
        memcpy(text, first, before + behind);
        int64_t rows = scan(&events, text, before + behind);
        taken += rows;
        refused += 2 - rows;
        free(text);
        if (left % 50 == 0)
            follow(&positions);
    }
    tk_events_close(&events);
    tk_positions_close(&positions);
    printf("%ld %ld\n", taken, refused);
    return 0;
}
