#include "tests/fault/step.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* tests/fault/stubs writes these three; the first name is the allocation's. */
extern const char *const fault_names[];
extern const int fault_errors[];
extern const size_t fault_count;

static struct fault_plan plan;
static struct fault_seen *seen;

size_t fault_calls(void)
{
	return fault_count;
}

const char *fault_name(size_t call)
{
	return fault_names[call];
}

void fault_begin(const struct fault_plan *wanted, struct fault_seen *ret)
{
	plan = *wanted;
	seen = ret;
}

void fault_end(void)
{
	seen = NULL;
}

/* Whether this call fails. Only the stubs call it. */
int fault_step(size_t call, void *site);
int fault_step(size_t call, void *site)
{
	if (!seen)
		return 0;
	long n = ++seen->counts[call];
	if (call != plan.call || plan.at == 0 || n < plan.at || (n > plan.at && !plan.on))
		return 0;
	if (!seen->site)
		seen->site = site;
	errno = fault_errors[call];
	return 1;
}

/* The allocator is the sanitizer's, which checks how its memory is used, or else libc's. */
#ifdef __SANITIZE_ADDRESS__
#define NEXT(function) __interceptor_##function
#else
#define NEXT(function) __libc_##function
#endif
void *NEXT(malloc)(size_t size);
void *NEXT(calloc)(size_t count, size_t size);
void *NEXT(realloc)(void *memory, size_t size);

static bool refused(void *site)
{
	return seen && fault_step(FAULT_ALLOCATION, site);
}

void *malloc(size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : NEXT(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : NEXT(calloc)(count, size);
}

void *realloc(void *memory, size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : NEXT(realloc)(memory, size);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
	size_t bytes;
	if (refused(__builtin_return_address(0)) || __builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return NEXT(realloc)(memory, bytes);
}
