#pragma once
#include <stdint.h>

/// How often this thread has asked for memory so far; a realloc counts once.
uint64_t allocation_count(void);
