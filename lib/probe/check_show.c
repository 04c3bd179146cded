#include "lib/probe/check_show.h"
#include "lib/probe/check_json.h"
#include "lib/cli/cli.h"
#include "lib/core/base64.h"
#include "lib/core/clock.h"
#include "lib/wire/json.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_SHORT = 16, ISSUER_SHORT = 28, NAGIOS_FAULTS = 3 };

static const char *address_of(const struct check_row *row)
{
	return row->endpoint.text[0] ? row->endpoint.text : "-";
}

/* ---- for people ---- */

static const char *const plain[] = {"", "", "", "", ""};
static const char *const colours[] = {"\033[32m", "\033[33m", "\033[35m", "\033[31m", "\033[31m"};

/* Colour makes every cell of the column, the header included, longer by the same, so that the columns stay in line. */
static char *painted(const char *text, const char *colour)
{
	return *colour ? mem_printf("%s%s\033[0m", colour, text) : mem_strdup(text);
}

static void add_table_row(struct cli_table *table, const struct check_row *row, const char *const *paint)
{
	const struct check *c = &row->check;
	char hex[CHAIN_HEX_MAX] = "-", days[16] = "-", issuer[ISSUER_SHORT + 1] = "-";
	auto_free char *verdict = painted(check_verdict_text(c->verdict), paint[c->verdict]);
	if (c->served) {
		chain_hex(c->facts.fingerprint, hex);
		hex[HEX_SHORT] = '\0';
		snprintf(days, sizeof(days), "%d", c->days_left);
		snprintf(issuer, sizeof(issuer), "%.*s", ISSUER_SHORT, c->facts.issuer);
		text_clean(issuer, 0); /* it may have been cut within a letter */
	}
	const char *const cells[] = {row->host->name, address_of(row), verdict, days, hex, issuer,
		c->served ? c->facts.key_type : "-",
		!c->served              ? "-"
			: c->name_match ? "yes"
					: "NO",
		!c->served                  ? "-"
			: c->chain_complete ? "yes"
					    : "NO",
		!c->served || !c->expects ? "-"
			: c->match        ? "yes"
					  : "NO"};
	cli_table_row(table, cells);
}

static void print_fault(const struct check_row *row, const char *const *paint)
{
	const struct check *c = &row->check;
	const char *where = row->endpoint.text[0] ? row->endpoint.text : "itself";
	auto_free char *word = painted(check_verdict_text(c->verdict), paint[c->verdict]);
	if (c->verdict != CHECK_OK)
		printf("\n%s %s is %s: %s\n  what to do: %s\n", row->host->name, where, word, c->reason, c->advice);
	if (c->warning[0])
		printf("\n%s %s: %s\n", row->host->name, where, c->warning);
}

static bool is_shown_above(const struct check_run *run, size_t row)
{
	for (size_t i = 0; i < row; i++)
		if (run->rows[i].check.served &&
			memcmp(run->rows[i].check.facts.fingerprint, run->rows[row].check.facts.fingerprint,
				CHAIN_SHA256_SIZE) == 0)
			return true;
	return false;
}

/* Says it once of each certificate, however many endpoints serve it. What is wrong with a list is in the warning. */
static void print_scts(const struct check_run *run, size_t row)
{
	const struct check *c = &run->rows[row].check;
	char hex[CHAIN_HEX_MAX], when[CLOCK_TEXT_MAX];
	if (!c->served || !c->knows_scts || is_shown_above(run, row))
		return;
	printf("\n%.*s ", HEX_SHORT, chain_hex(c->facts.fingerprint, hex));
	if (c->scts.count)
		printf("is in Certificate Transparency: %zu SCTs\n", c->scts.count);
	else
		puts("has no SCTs (Certificate Transparency): only that of a public authority needs them");
	for (size_t i = 0; i < c->scts.count; i++) {
		auto_buf struct buf log = BUF_INIT(2 * SCT_LOG_SIZE);
		base64_encode(c->scts.items[i].log, SCT_LOG_SIZE, &log);
		printf("  %s  log %s\n", clock_text(c->scts.items[i].when, when), buf_text(&log));
	}
}

void check_show_table(const struct check_run *run, bool colour)
{
	const char *const *paint = colour ? colours : plain;
	auto_free char *verdict = painted("VERDICT", colour ? "\033[00m" : "");
	const char *const header[] = {
		"HOST", "ENDPOINT", verdict, "DAYS", "SHA-256", "ISSUER", "KEY", "NAME", "CHAIN", "MATCH"};
	struct cli_table *table = cli_table_new(COUNT(header), header);
	for (size_t i = 0; i < run->row_count; i++)
		add_table_row(table, &run->rows[i], paint);
	cli_table_print(table);
	for (size_t i = 0; i < run->row_count; i++)
		print_fault(&run->rows[i], paint);
	for (size_t i = 0; i < run->row_count; i++)
		print_scts(run, i);
}

/* ---- for programs ---- */

void check_show_json(const struct check_run *run, int exit_code)
{
	auto_json cJSON *all = cJSON_CreateObject();
	cJSON *checks = cJSON_AddArrayToObject(all, "checks");
	for (size_t i = 0; i < run->row_count; i++)
		cJSON_AddItemToArray(
			checks, check_encode(run->rows[i].host->name, run->rows[i].endpoint.text, &run->rows[i].check));
	cJSON_AddNumberToObject(all, "exit", exit_code);
	char *text = cJSON_Print(all);
	puts(text ? text : "{}");
	cJSON_free(text);
}

/* ---- for Nagios ---- */

static enum nagios_exit severity(const struct check *c)
{
	if (c->verdict > CHECK_EXPIRING)
		return NAGIOS_CRITICAL;
	return c->verdict == CHECK_EXPIRING || c->warning[0] ? NAGIOS_WARNING : NAGIOS_OK;
}

/* What stands behind a '|' is Nagios's own, so none is printed. */
static void print_plain(const char *text)
{
	for (; *text; text++)
		putchar(*text == '|' || *text == '\n' ? '/' : *text);
}

/* Prints the worst faults first, and not all when there are many. */
static void print_faults(const struct check_run *run, size_t bad)
{
	size_t told = 0;
	for (int verdict = CHECK_UNREACHABLE; verdict >= CHECK_OK; verdict--)
		for (size_t i = 0; i < run->row_count && told < NAGIOS_FAULTS; i++) {
			const struct check_row *row = &run->rows[i];
			if (row->check.verdict != (enum check_verdict)verdict || severity(&row->check) == NAGIOS_OK)
				continue;
			auto_free char *text = mem_printf("%s%s %s %s: %s", told++ ? "; " : ": ", row->host->name,
				address_of(row), check_verdict_text(row->check.verdict),
				row->check.reason[0] ? row->check.reason : row->check.warning);
			print_plain(text);
		}
	if (bad > told)
		printf("; and %zu more", bad - told);
}

enum nagios_exit check_show_nagios(const struct check_run *run)
{
	static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
	enum nagios_exit worst = NAGIOS_OK;
	size_t bad = 0;
	const struct check *soonest = NULL;
	for (size_t i = 0; i < run->row_count; i++) {
		const struct check *c = &run->rows[i].check;
		worst = severity(c) > worst ? severity(c) : worst;
		bad += severity(c) != NAGIOS_OK;
		if (c->served && (!soonest || c->facts.not_after < soonest->facts.not_after))
			soonest = c;
	}
	if (bad) {
		printf("CERTSYNC %s - %zu of %zu endpoints", words[worst], bad, run->row_count);
		print_faults(run, bad);
	} else {
		printf("CERTSYNC OK - %zu endpoints, the first expires in %d days", run->row_count,
			soonest ? soonest->days_left : 0);
	}
	printf(" | endpoints=%zu bad=%zu", run->row_count, bad);
	if (soonest)
		printf(" days_left=%d", soonest->days_left);
	putchar('\n');
	return worst;
}
