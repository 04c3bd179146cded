/* The worker kind "alert": delivers one message by one way.
 *
 *   in:  "job" with type ("email", "webhook", "command"), target (recipient, URL, path), and where they apply
 * smtp, from, user, ca_file; FILES with "message", the JSON object of lib/alert/alert_text.h, and with a user "password", as
 * the file has it. out:
 * "done" or "failed" with the text that the other side gave
 *
 * Mail: smtp:// without a user takes TLS where it can be had, whatever the certificate, as mail servers do
 * among themselves; with a user, and with smtps://, it must be had and be trusted. A webhook: no redirect,
 * 2xx is success. A command: the JSON on its standard input, no arguments, PATH alone in its environment; 0
 * is success.
 */
#ifndef CERTSYNC_HUB_ALERT_WORKER_H
#define CERTSYNC_HUB_ALERT_WORKER_H

enum { ALERT_JOB_SECONDS = 90 };

int alert_worker(void);

#endif
