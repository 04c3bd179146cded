/* An overview as one HTML page: it has no script, nothing from elsewhere, and one style that the page's
 * Content-Security-Policy knows by its hash. This does no I/O. Every text is escaped; what a peer chose is isolated in
 * its direction of writing, too.
 */
#ifndef CERTSYNC_HUB_DAEMON_VIEW_PAGE_HTML_H
#define CERTSYNC_HUB_DAEMON_VIEW_PAGE_HTML_H

#include "hub/daemon/view/overview.h"
#include "lib/core/buf.h"

enum {
	PAGE_CERTIFICATES_MAX = 500, /* what is beyond these, on the whole page, is counted, and `certsync
					status` has it; trouble comes first */
	PAGE_PLACES_MAX = 1000,
	PAGE_AGENTS_MAX = 1000,
	PAGE_ENDPOINTS_MAX = 2000,
	PAGE_ATTENTION_MAX = 60,
};

const char *page_style(void); /* what stands between <style> and </style> */
/* Returns 0, or -1 when the page is longer than `out` takes. */
int page_write(const struct overview *o, struct buf *out);
/* Appends a text, escaped for an element or a quoted attribute. */
int page_escape(const char *text, struct buf *out);

#endif
