#include "agent/cli/adopt/table.h"
#include "lib/cli/cli.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_MAX = 512, HEX_SHORT = 8, NAMES_SHOWN = 3, COLUMNS = 5 };

struct row {
	const struct served_look *look;
	char *cells[COLUMNS]; /* owned; the second one grows with the names */
	size_t names;
};

struct rows {
	struct row *list;
	size_t count;
};

/* ---- cells ---- */

static void add_leaf(struct buf *out, const struct served_leaf *leaf)
{
	char hex[CHAIN_HEX_MAX];
	const struct present *p = &leaf->present;
	chain_hex(p->leaves[0].fingerprint, hex);
	buf_addf(out, "%s%.100s", out->len ? ", " : "", p->name_count ? p->names[0] : "no name");
	if (p->name_count > 1)
		buf_addf(out, " +%zu", p->name_count - 1);
	buf_addf(out, " %s %.*s", p->leaves[0].key_type, HEX_SHORT, hex);
}

static char *served_cell(const struct served_look *look)
{
	auto_buf struct buf out = BUF_INIT(CELL_MAX);
	for (int k = SERVED_KINDS - 1; k >= 0; k--)
		if (look->by[k].served)
			add_leaf(&out, &look->by[k]);
	if (out.len == 0)
		buf_addf(&out, "nothing");
	return mem_strdup(buf_text(&out));
}

static const struct plan_leaf *leaf_of(const struct plan *p, const char *service, const struct served_leaf *leaf)
{
	for (size_t i = 0; i < p->leaf_count; i++)
		if (strcmp(p->leaves[i].service, service) == 0 && served_is(leaf, p->leaves[i].fingerprint))
			return &p->leaves[i];
	return NULL;
}

/* Returns whether a service of the plan presents this because of it. */
static bool is_new(const struct plan *p, const char *service, const struct served_leaf *leaf)
{
	for (size_t i = 0; i < p->target_count; i++)
		for (size_t k = 0; k < p->targets[i].certificate->leaf_count; k++)
			if (strcmp(p->targets[i].service->name, service) == 0 &&
				served_is(leaf, p->targets[i].certificate->leaves[k]))
				return true;
	return false;
}

/* Who keeps what one kind of client is shown: certsync, or the file that the service names, or nobody that is known. */
static char *keeper(const struct plan *p, const char *service, const struct served_leaf *leaf, bool planned)
{
	const struct plan_leaf *known = leaf_of(p, service, leaf);
	if (is_new(p, service, leaf) || (known && (known->ours || (planned && known->certificate))))
		return mem_strdup("certsync");
	return known ? mem_printf("left to %s: %s", service, known->path)
		     : mem_printf("left to %s: no file that was read has it", service);
}

static char *kept_cell(const struct plan *p, const struct served_look *look, bool planned)
{
	char *result = NULL;
	for (size_t k = 0; k < SERVED_KINDS; k++) {
		if (!look->by[k].served)
			continue;
		char *one = keeper(p, look->service, &look->by[k], planned);
		if (result && strcmp(result, one) != 0) {
			char *both = mem_printf("%s, %s", result, one);
			free(one);
			one = both;
		}
		free(result);
		result = one;
	}
	return result ? result : mem_strdup("-");
}

/* What the plan makes of what is served. */
static char *planned_cell(const struct plan *p, const struct served_look *look)
{
	for (size_t k = 0; k < SERVED_KINDS; k++)
		for (size_t i = 0; look->by[k].served && i < p->leaf_count; i++)
			if (p->leaves[i].certificate && strcmp(p->leaves[i].service, look->service) == 0 &&
				served_is(&look->by[k], p->leaves[i].fingerprint))
				return mem_strdup(p->leaves[i].certificate->certificate->name);
	return mem_strdup("the same");
}

static char *now_cell(const struct plan *p, const struct served_look *before, const struct served_look *now)
{
	if (!now)
		return planned_cell(p, before);
	for (size_t k = 0; k < SERVED_KINDS; k++)
		if (!served_same(&before->by[k], &now->by[k]))
			return served_cell(now);
	return mem_strdup("the same");
}

/* ---- rows ---- */

static const char *name_of(const struct served_look *look)
{
	return look->name ? look->name : "(none)";
}

static bool joins(const struct row *r, const struct served_look *look, char *const cells[COLUMNS])
{
	if (strcmp(r->look->endpoint, look->endpoint) != 0 || strcmp(r->look->service, look->service) != 0)
		return false;
	for (size_t i = 2; i < COLUMNS; i++)
		if (strcmp(r->cells[i], cells[i]) != 0)
			return false;
	return true;
}

static void join_name(struct row *r, const char *name)
{
	if (++r->names > NAMES_SHOWN)
		return;
	char *both = mem_printf("%s, %s", r->cells[1], name);
	free(r->cells[1]);
	r->cells[1] = both;
}

static void add_row(struct rows *rows, const struct served_look *look, char *cells[COLUMNS])
{
	for (size_t i = 0; i < rows->count; i++)
		if (joins(&rows->list[i], look, cells)) {
			join_name(&rows->list[i], name_of(look));
			for (size_t k = 0; k < COLUMNS; k++)
				free(cells[k]);
			return;
		}
	rows->list = mem_grow(rows->list, rows->count + 1, sizeof(*rows->list));
	struct row *r = &rows->list[rows->count++];
	*r = (struct row){.look = look, .names = 1};
	memcpy(r->cells, cells, sizeof(r->cells));
}

static void print_rows(struct rows *rows, const char *const *header)
{
	struct cli_table *table = cli_table_new(COLUMNS, header);
	for (size_t i = 0; i < rows->count; i++) {
		struct row *r = &rows->list[i];
		auto_free char *names = r->names > NAMES_SHOWN
			? mem_printf("%s and %zu more", r->cells[1], r->names - NAMES_SHOWN)
			: mem_strdup(r->cells[1]);
		const char *const cells[COLUMNS] = {r->cells[0], names, r->cells[2], r->cells[3], r->cells[4]};
		cli_table_row(table, cells);
		for (size_t k = 0; k < COLUMNS; k++)
			free(r->cells[k]);
	}
	cli_table_print(table);
	free(rows->list);
}

void table_print(const struct plan *plan, const struct sight *before, const struct sight *now)
{
	static const char *const planned[COLUMNS] = {"PORT", "NAME", "SERVES", "WOULD SERVE", "KEPT BY"};
	static const char *const done[COLUMNS] = {"PORT", "NAME", "SERVED BEFORE", "SERVES NOW", "KEPT BY"};
	struct rows rows = {0};
	for (size_t i = 0; i < before->served.count; i++) {
		const struct served_look *old = &before->served.list[i];
		const struct served_look *new = now ? &now->served.list[i] : NULL;
		if (!served_any(old) && (!new || !served_any(new)) && !before->promised[i])
			continue;
		char *cells[COLUMNS] = {mem_strdup(old->endpoint), mem_strdup(name_of(old)), served_cell(old),
			now_cell(plan, old, new), kept_cell(plan, new ? new : old, !new)};
		add_row(&rows, old, cells);
	}
	if (rows.count == 0)
		printf("no service that was found serves anything with TLS now\n");
	else
		print_rows(&rows, now ? done : planned);
	if (before->served.left_out)
		printf("%zu more pairs of a port and a name were not looked at\n", before->served.left_out);
}
