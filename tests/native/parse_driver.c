/* Mutated lines through the parser, each in a block of exactly its size, for sanitizers. Each twice, and the columns are of
   exactly two rows. Prints lines taken and refused.

   usage: parse_driver SEED LINES */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/parse.h"
#include "../../tracekit/_native/scan.h"
#include "chance.h"

static const char *LINES[] = {
    "{\"uri\":\"/a\",\"offset\":0,\"len\":10,\"t_submit\":1}\n",
    "{\"uri\":\"file:///some/long/path/to/a/file\",\"offset\":4096,\"len\":512,\"t_submit\":77,\"op\":\"write\",\"ret\":512}\n",
    "{\"uri\":\"file:///d/0\",\"offset\":110592,\"len\":4096,\"t_submit\":167336313,\"op\":\"read\",\"t_complete\":1673364051234567,"
    "\"ret\":4096,\"pid\":28313,\"tid\":28313,\"layer\":\"libc\",\"sample_id\":12345678}\n",
    "{ \"len\" : 3 , \"uri\" : \"\xc3\xa9\" , \"t_submit\" : 9223372036854775807 , \"sample_id\":\"cat.jpg\",\"new\":null }\r\n",
};

/* The rows that two lines gave; each column lies in memory of its own. */
static int64_t parse(tk_parser *parser, const char *text, size_t length)
{
    tk_parsed parsed = {.capacity = 2};
    for (int i = 0; i < TK_COLUMNS; i++)
        parsed.columns[i] = malloc(2 * (TK_COLUMN[i].kind == TK_INT64 || TK_COLUMN[i].kind == TK_SAMPLE ? 8 : 4));
    tk_parse(parser, text, length, &parsed);
    size_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    if (parsed.position > length || parsed.rows > 2 || tk_lines_in(text, length) != lines)
        abort();
    for (int i = 0; i < TK_COLUMNS; i++)
        free(parsed.columns[i]);
    return parsed.rows;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    long taken = 0, refused = 0;
    tk_parser parser;
    sow(strtoull(arguments[1], NULL, 10));
    if (tk_parser_open(&parser) < 0)
        return 2;
    for (long left = strtol(arguments[2], NULL, 10); left; left--) {
        const char *line = LINES[draw(sizeof LINES / sizeof LINES[0])];
        char first[512];
        size_t length = strlen(line);
        memcpy(first, line, length);
        size_t before = mutate(first, length, JSON_LETTERS), behind = mutate(memcpy(first + before, line, length), length, JSON_LETTERS);
        char *text = malloc(before + behind); /* exactly: a look beyond is found */
        memcpy(text, first, before + behind);
        int64_t rows = parse(&parser, text, before + behind);
        taken += rows;
        refused += 2 - rows;
        free(text);
    }
    tk_parser_close(&parser);
    printf("%ld %ld\n", taken, refused);
    return 0;
}
