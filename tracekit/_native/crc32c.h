/* CRC-32C (Castagnoli), as TFRecord files have it. */
#ifndef TRACEKIT_CRC32C_H
#define TRACEKIT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `length` bytes that follow those of which `crc` is the checksum; 0 before the first. */
uint32_t tk_crc32c(uint32_t crc, const unsigned char *bytes, size_t length);

#endif
