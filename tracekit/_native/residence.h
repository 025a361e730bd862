/* Which pages of a file are in the page cache before the program reads it: looked at once per file and run, whichever of
   the run's processes comes first. */
#ifndef TRACEKIT_RESIDENCE_H
#define TRACEKIT_RESIDENCE_H

#include <stdint.h>

#include "fdtable.h"
#include "spool.h"

/* What a TK_PAGES record's text begins with; runs follow, `len` of them in the record, each (first page, pages) in 32 bits.
   The record's `ret` says how the file goes on. */
struct tk_pages {
    uint64_t size, resident; /* bytes; pages, UINT64_MAX where the system does not tell */
    uint32_t page_bytes, unused;
};
enum tk_pages_end {
    TK_PAGES_DONE,      /* all runs are there; none at all where every page is resident or none is */
    TK_PAGES_MORE,      /* another record follows */
    TK_PAGES_LEFT_OUT,  /* too many runs or too large a file: only the number is known */
};

/* Map the run's table of files already looked at, <directory>/residence, of 64-bit slots that the launcher has made.
   Without that file nothing is looked at. The first slot counts the files for which there was no room. */
void tk_residence_start(const char *directory);

/* Look at a regular file whose identity has just been learnt, unless somebody has before. */
void tk_residence_look(struct tk_thread *thread, int fd, uint32_t file, const struct tk_identity *identity);

/* Before a call on a descriptor that is not known yet: learn what it is, so that the look comes before the call. */
void tk_residence_before(int fd);

#endif
