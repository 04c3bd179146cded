/* The worker kind "alert": delivers one message by one way.
 *
 * It takes a "job" with type ("email", "webhook", "command"), target (recipient, URL, path), and where they apply smtp,
 * from, user and ca_file; then FILES with "message", the JSON object of lib/alert/alert_text.h, and, with a user,
 * "password", as the file has it. It answers "done", or "failed" with the text that the other side gave.
 *
 * Mail over smtp:// without a user takes TLS where it can be had, whatever the certificate, as mail servers do among
 * themselves; with a user, and with smtps://, TLS is required and must be trusted. A webhook follows no redirect, and
 * 2xx is success. A command has the JSON on its standard input, no arguments, and PATH alone in its environment; exit
 * code 0 is success.
 */
#ifndef CERTSYNC_HUB_WORKER_ALERT_H
#define CERTSYNC_HUB_WORKER_ALERT_H

int alert_worker(void);

#endif
