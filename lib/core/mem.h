/* Allocation that cannot fail, since it aborts, and cleanup by attribute.
 *
 * Since a failed allocation ends the process, every size that a peer can choose is capped before it gets here. Memory
 * that has held a key is a `struct buf` (lib/core/buf.h), which wipes itself.
 */
#ifndef CERTSYNC_LIB_CORE_MEM_H
#define CERTSYNC_LIB_CORE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                           /* zeroed */
void *mem_array(size_t count, size_t size);             /* zeroed; aborts on overflow */
void *mem_grow(void *array, size_t count, size_t size); /* as reallocarray; what is new is not zeroed */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program and says where (pass __func__). It is for a library call that can only have failed for want of
 * memory, and for what cannot happen. */
_Noreturn void mem_abort(const char *where);

/* Keeps the whole process out of the swap space, with OpenSSL's own copies of keys and the stack; it is for processes
 * that have private keys. Pages are locked when they come to be used, so the process takes no more memory than before.
 * Children do not inherit this and have to call it themselves. Returns 0, or -1 with errno when there is neither
 * CAP_IPC_LOCK nor a limit (RLIMIT_MEMLOCK) with room enough; then nothing is locked. */
int mem_lock(void);

void mem_free_cleanup(void *pointer_to_pointer);
void mem_close_cleanup(const int *fd);

/* `auto_free char *path = …;` frees at the end of the scope; `auto_close int fd = -1;` closes. */
#define auto_free __attribute__((cleanup(mem_free_cleanup)))
#define auto_close __attribute__((cleanup(mem_close_cleanup)))

/* Takes the value out of an auto_free pointer or an auto_close descriptor, which keeps nothing to clean up. */
#define steal(pointer) \
	__extension__({ \
		__typeof__(pointer) stolen_ = (pointer); \
		(pointer) = NULL; \
		stolen_; \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -1;
	return stolen;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
