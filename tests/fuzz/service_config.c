/* Configuration files of services, whose kind the first byte gives: every place that is found lies in its file, and is
 * found again when the file is read again. */
#include "agent/cli/services/find.h"
#include "agent/cli/services/mariadb.h"
#include "agent/cli/services/tokens.h"
#include "tests/fuzz/fuzz.h"

static int scan(uint8_t kind, struct found_service *s, const char *path, struct error *err)
{
	switch (kind % 5) {
	case 0:
		return nginx_scan(s, "/etc/nginx", path, err);
	case 1:
		return apache_scan(s, &(struct apache_facts){"", "NAME=value\n"}, "/etc/apache2", path, err);
	case 2:
		return haproxy_scan(s, path, err);
	case 3:
		return postfix_scan_sni(s, path, err);
	default:
		return stunnel_scan(s, path, err);
	}
}

static void check(const struct found_service *s, const struct found_service *again, size_t size)
{
	FUZZ_CHECK(s->use_count == again->use_count && s->port_count == again->port_count);
	for (size_t i = 0; i < s->use_count; i++) {
		const struct found_use *u = &s->uses[i];
		FUZZ_CHECK(u->start <= u->end && u->end <= size && u->start == again->uses[i].start);
		FUZZ_CHECK(u->group > 0 && u->group <= s->groups);
		FUZZ_CHECK(u->role == FOUND_COPY || (u->line > 0 && u->instead[0]));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[FUZZ_PATH_MAX];
	struct error err;
	struct found_service first = {0}, second = {0};
	if (size == 0)
		return 0;
	auto_close __attribute__((unused)) int fd = fuzz_file(data + 1, size - 1, path);
	int result = scan(data[0], &first, path, &err);
	FUZZ_CHECK(scan(data[0], &second, path, &err) == result);
	if (result == 0)
		check(&first, &second, size - 1);
	found_service_release(&first);
	found_service_release(&second);
	auto_buf struct buf text = BUF_INIT(1024 * 1024);
	if (buf_add(&text, data + 1, size - 1) == 0)
		dovecot_ports(&first, buf_text(&text));
	auto_mariadb struct mariadb options = {0};
	mariadb_scan(buf_text(&text), false, &options);
	found_service_release(&first);
	return 0;
}
