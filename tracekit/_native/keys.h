/* Keys of JSON as they stand in a line, `"name":`, each in two words to compare at once; the bytes behind it are masked out. */
#ifndef TRACEKIT_KEYS_H
#define TRACEKIT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TK_KEY_BYTES = 16 }; /* what has to be there to compare: a key, its quotes and its colon are no longer */

typedef struct {
    uint64_t low, high, low_mask, high_mask;
} tk_json_key;

static inline tk_json_key tk_json_key_of(const char *name, size_t length)
{
    char text[TK_KEY_BYTES] = "\"", mask[TK_KEY_BYTES] = {0};
    tk_json_key key;
    memcpy(text + 1, name, length);
    memcpy(text + 1 + length, "\":", 2);
    memset(mask, 0xFF, length + 3);
    memcpy(&key.low, text, 8);
    memcpy(&key.high, text + 8, 8);
    memcpy(&key.low_mask, mask, 8);
    memcpy(&key.high_mask, mask + 8, 8);
    return key;
}

static inline bool tk_is_json_key(const tk_json_key *key, const char *at)
{
    uint64_t low, high;
    memcpy(&low, at, 8);
    memcpy(&high, at + 8, 8);
    return (((low ^ key->low) & key->low_mask) | ((high ^ key->high) & key->high_mask)) == 0;
}

/* Behind a word such as `null` that stands at `at`; NULL where it does not. */
static inline const char *tk_word_at(const char *at, const char *end, const char *word, size_t length)
{
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

#endif
