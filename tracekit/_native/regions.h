/* The table of mapped ranges whose pages are looked for, and the looking. The caller holds the table's lock. */
#ifndef TRACEKIT_REGIONS_H
#define TRACEKIT_REGIONS_H

#include <stddef.h>
#include <stdint.h>

#include "spool.h"

enum { TK_PAGE = 4096, TK_REGION_NAME = 1024, TK_REGIONS = 1 << 16 };

struct tk_region {
    uintptr_t start, end;
    int64_t offset;  /* of `start` in the file */
    uint64_t bytes;  /* asked for: the last page may be of less use than its size */
    uint64_t *noted; /* a bit per page */
    uint64_t since;  /* when it was last looked at */
    uint32_t file, generation, name_bytes;
    uint8_t privately; /* was to be shared and read only; the kernel registers what may be written */
    struct tk_identity identity;
};

/* Memory for the table; it becomes real as rows are used. 0, or -1. */
int tk_regions_start(void);

/* A new row for `*like` under a name; NULL when the table is full. */
struct tk_region *tk_region_add(const struct tk_region *like, const char *name);
void tk_region_remove(struct tk_region *region);
const char *tk_region_name(const struct tk_region *region);

/* The row at or after *at that overlaps the range; *at becomes the place after it. NULL at the end. */
struct tk_region *tk_region_in(size_t *at, uintptr_t start, uintptr_t end);
size_t tk_region_count(void);

/* Whether a row may overlap the range; needs no lock, and says yes while the table changes. */
int tk_regions_overlap(uintptr_t start, uintptr_t end);

/* Note the pages of the region that are mapped and were not noted; what is mapped no longer may be noted again. With
   `silently`, pages are marked, not noted. Pages found, or -1 when the kernel does not answer. */
int64_t tk_region_look(struct tk_region *region, int pagemap, int silently);

/* Whether the context has changed without a look: what is noted next may have been touched in another. */
extern int tk_regions_vague;

/* Whether the kernel answers at all, asked about one page. 0 or an errno. */
int tk_region_try(int pagemap, uintptr_t page);

#endif
