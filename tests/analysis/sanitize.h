/* Is included in every file of a build with SANITIZE=1. Each program itself tells AddressSanitizer its options, since
 * the root halves give their children an environment of their own. Less of what was freed is kept back, so that the
 * growth of memory can be judged. */
const char *__asan_default_options(void);
__attribute__((weak, no_sanitize("address", "undefined"))) const char *__asan_default_options(void)
{
	return "quarantine_size_mb=16";
}

/* lib/core/confine.c allows this, too: a program that looks for leaks at its end reads there and starts a thread. */
#define CONFINE_ALSO "/proc"
