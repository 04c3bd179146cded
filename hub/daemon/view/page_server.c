#include "hub/daemon/view/page_server.h"
#include "hub/daemon/httpd.h"
#include "hub/daemon/view/metrics.h"
#include "hub/daemon/view/overview.h"
#include "hub/daemon/view/page_html.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum {
	STATUS_PAGE_HTML_MAX = 8 * 1024 * 1024,
	STATUS_PAGE_METRICS_MAX = 32 * 1024 * 1024,
	STATUS_PAGE_HEALTH_MAX = 4096,
	STATUS_PAGE_FRESH_MS = 1000,
	STATUS_PAGE_HEADERS_MAX = 1024,
};

static const struct httpd_limits limits = {
	.purpose = "the status page",
	.seconds = 10,
	.visits = 64,
	.output = 48 * 1024 * 1024,
};

/* What one path answers, as it was made last. */
struct leaf {
	const char *status;
	char headers[STATUS_PAGE_HEADERS_MAX];
	struct buf body;
	int64_t made; /* monotonic, milliseconds; 0: never */
};

struct page_server {
	struct hub *hub;
	struct httpd *httpd;
	char *address; /* owned */
	struct leaf html, metrics, health;
};

/* Nothing of the answer is kept, framed, sniffed or told to others; only the page's own style is applied. */
static void set_headers(struct leaf *l, const char *type, const char *style)
{
	snprintf(l->headers, sizeof(l->headers),
		"Content-Type: %s\r\n"
		"Content-Security-Policy: default-src 'none'; %s%s%sbase-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"X-Frame-Options: DENY\r\n"
		"Referrer-Policy: no-referrer\r\n"
		"Cross-Origin-Resource-Policy: same-origin\r\n"
		"Cache-Control: no-store\r\n",
		type, style ? "style-src 'sha256-" : "", style ? style : "", style ? "'; " : "");
}

static void hash_style(char text[64])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256((const uint8_t *)page_style(), strlen(page_style()), digest);
	EVP_EncodeBlock((uint8_t *)text, digest, sizeof(digest));
}

/* ---- what is answered ---- */

static void too_long(struct leaf *l)
{
	static const char text[] = "there is more to show than fits: certsync status shows all\n";
	buf_reset(&l->body);
	buf_add(&l->body, text, sizeof(text) - 1);
	l->status = "500 Internal Server Error";
}

static void make_html(const struct page_server *p, struct leaf *l)
{
	auto_overview struct overview o;
	overview_take(p->hub, false, &o);
	if (page_write(&o, &l->body) < 0)
		too_long(l);
}

static void make_metrics(const struct page_server *p, struct leaf *l)
{
	auto_overview struct overview o;
	overview_take(p->hub, false, &o);
	if (metrics_write(&o, &l->body) < 0)
		too_long(l);
}

static void make_health(const struct page_server *p, struct leaf *l)
{
	struct situation_hub is;
	char trouble[OVERVIEW_TROUBLE_MAX];
	situation_hub_take(p->hub, &is);
	overview_trouble(&is, trouble);
	if (trouble[0])
		l->status = "503 Service Unavailable";
	buf_addf(&l->body, "%s\n", trouble[0] ? trouble : "ok");
}

static const struct leaf *fresh(
	const struct page_server *p, struct leaf *l, void (*make)(const struct page_server *p, struct leaf *l))
{
	int64_t now = clock_monotonic_ms();
	if (l->made && now - l->made < STATUS_PAGE_FRESH_MS)
		return l;
	buf_reset(&l->body);
	l->status = "200 OK";
	make(p, l);
	l->made = now;
	return l;
}

static void answer_page(const char *path, struct httpd_answer *answer, void *context)
{
	struct page_server *p = context;
	const struct leaf *leaf = NULL;
	size_t len = strcspn(path, "?");
	if (len == 1 && path[0] == '/')
		leaf = fresh(p, &p->html, make_html);
	else if (len == 8 && strncmp(path, "/metrics", len) == 0)
		leaf = fresh(p, &p->metrics, make_metrics);
	else if (len == 8 && strncmp(path, "/healthz", len) == 0)
		leaf = fresh(p, &p->health, make_health);
	answer->headers = p->health.headers;
	if (leaf)
		*answer = (struct httpd_answer){leaf->status, leaf->headers, leaf->body.data, leaf->body.len};
}

/* ---- life ---- */

static void page_free(struct page_server *p)
{
	if (!p)
		return;
	httpd_free(p->httpd);
	buf_release(&p->html.body);
	buf_release(&p->metrics.body);
	buf_release(&p->health.body);
	free(p->address);
	free(p);
}

static struct page_server *page_new(struct hub *hub, const char *address, struct error *err)
{
	char style[64];
	struct page_server *p = mem_alloc(sizeof(*p));
	p->hub = hub;
	p->address = mem_strdup(address);
	p->html.body = BUF_INIT(STATUS_PAGE_HTML_MAX);
	p->metrics.body = BUF_INIT(STATUS_PAGE_METRICS_MAX);
	p->health.body = BUF_INIT(STATUS_PAGE_HEALTH_MAX);
	hash_style(style);
	set_headers(&p->html, "text/html; charset=utf-8", style);
	set_headers(&p->metrics, METRICS_TYPE, NULL);
	set_headers(&p->health, "text/plain; charset=utf-8", NULL);
	p->httpd = httpd_new(hub->base, address, &limits, answer_page, p, err);
	if (p->httpd)
		return p;
	page_free(p);
	return NULL;
}

int page_server_open(struct hub *hub, struct error *err)
{
	const char *address = hub->config->page;
	struct page_server *old = hub->page;
	if (old && address && strcmp(old->address, address) == 0)
		return 0;
	struct page_server *new = address ? page_new(hub, address, err) : NULL;
	if (address && !new)
		return error_wrap(err, "page");
	page_free(old);
	hub->page = new;
	return 0;
}

void page_server_close(struct hub *hub)
{
	page_free(hub->page);
	hub->page = NULL;
}
