/* One line per event on standard error, with stable keys: `event=rollout certificate=… agent=… step=…`.
 * Under systemd (JOURNAL_STREAM is set) a line begins with its `<level>`, else with the time.
 * Only the programs log; library code returns errors.
 */
#ifndef CERTSYNC_LOG_H
#define CERTSYNC_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 };

/* `program` stands in every line. Must be called first. */
void log_open(const char *program);
/* The format gives `key=value` pairs; a value that may contain blanks is written with %s inside \"…\".
 * Control characters are cleaned. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
