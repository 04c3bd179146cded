/* With FAST set, libFuzzer runs a target with OpenSSL's own allocations past AddressSanitizer, which gives three times
 * as many executions. Whatever is found is replayed with all allocations checked. */
#ifndef CERTSYNC_FUZZ_PLAIN_HEAP_H
#define CERTSYNC_FUZZ_PLAIN_HEAP_H

#include <openssl/crypto.h>
#include <stdlib.h>

/* These are the C library's own functions, which no sanitizer replaces. */
void *__libc_malloc(size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static void *plain_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return __libc_malloc(size);
}

static void *plain_realloc(void *block, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return __libc_realloc(block, size);
}

static void plain_free(void *block, const char *file, int line)
{
	(void)file, (void)line;
	__libc_free(block);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	if (getenv("FAST") && !CRYPTO_set_mem_functions(plain_malloc, plain_realloc, plain_free))
		abort();
	return 0;
}

#endif
