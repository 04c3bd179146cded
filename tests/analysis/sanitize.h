/* In every file of a build with SANITIZE=1: what AddressSanitizer is told by each program itself, since the root halves give their
 * children an environment of their own. It keeps back less of what was freed, so that how memory grows can be judged.
 */
const char *__asan_default_options(void);
__attribute__((weak, no_sanitize("address", "undefined"))) const char *__asan_default_options(void)
{
	return "quarantine_size_mb=16";
}

/* For lib/core/confine.c: a program that looks for leaks at its end reads there and starts a thread. */
#define CONFINE_ALSO "/proc"
