/* The log: one line per event on standard error, with stable keys, like `event=rollout certificate=… agent=… step=…`;
 * man/certsync.1, LOG, lists them. When standard error is the journal's (JOURNAL_STREAM says so), a line begins with
 * its `<level>`, else with the time. Only the programs log; library code returns errors.
 */
#ifndef CERTSYNC_LIB_CORE_LOG_H
#define CERTSYNC_LIB_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 };

/* `program` stands in every line. This must be called first. */
void log_open(const char *program);
/* The format gives `key=value` pairs with %s (perhaps with a precision), %d and %u (with l, ll or z). Whatever a %s
 * brings stays one value: where it is a text, the format puts it into "…"; quotes are added where it is empty or has a
 * blank or an =; a " in it becomes a ', and control characters are cleaned. A line ends after 2 KiB. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Logs an event for each line of `text`, with the line as the value of `key`. */
void log_lines(enum log_level level, const char *event, const char *key, const char *text);

/* These parts are declared for tests. */
void log_pairs(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool log_to_journal(const char *stream, int fd);

#endif
