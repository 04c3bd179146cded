/* Facts from other files, which an analyser that looks at one file at a time cannot know. Nothing is built with it. */
#ifndef CERTSYNC_VERSION
#define CERTSYNC_VERSION "0"
#endif
#include "lib/cli/cli.h"
#include "lib/core/error.h"

/* These functions always return what their headers say. */
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_errno(...) (error_errno(__VA_ARGS__), -1)
#define error_wrap(...) (error_wrap(__VA_ARGS__), -1)
#define cli_fail(exit, ...) (cli_fail(exit, __VA_ARGS__), (int)(exit))
