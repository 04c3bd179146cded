#include "agent/common/pin.h"
#include "lib/core/base64.h"
#include "lib/core/fs.h"
#include "lib/crypto/host_pins.h"
#include "lib/crypto/signer_list.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char pin_word[] = "certsync-hub:1";
static const char told[] = "told by the hub";

/* ---- the hub's line ---- */

static bool is_signer(const char *text)
{
	auto_buf struct buf key = BUF_INIT(SEAL_KEY_SIZE);
	struct error ignored;
	return base64_decode(text, &key, &ignored) == 0 && key.len == SEAL_KEY_SIZE;
}

static bool is_port(const char *text)
{
	size_t len = strspn(text, "0123456789");
	unsigned long port = len >= 1 && len <= 5 && !text[len] ? strtoul(text, NULL, 10) : 0;
	return port >= 1 && port <= 65535;
}

static bool is_host(const char *text, size_t len)
{
	char host[256];
	if (!len || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[')
		return len > 2 && host[len - 1] == ']' && strspn(host + 1, "0123456789abcdefABCDEF:.") == len - 2;
	return name_is_dns(host, false);
}

static bool is_ssh_url(const char *text)
{
	static const char prefix[] = "ssh://";
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return false;
	text += strlen(prefix);
	size_t user = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-.");
	if (!user || text[0] == '-' || text[user] != '@')
		return false;
	text += user + 1;
	size_t host = text[0] == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
	if (host > strlen(text) || !is_host(text, host))
		return false;
	return !text[host] || (text[host] == ':' && is_port(text + host + 1));
}

static bool is_socket_url(const char *text)
{
	return strncmp(text, "unix:///", 8) == 0 && text[8];
}

/* Returns a number of at most fifteen digits with nothing behind it, or 0 when the text is none. */
static int64_t positive(const char *text)
{
	size_t len = strspn(text, "0123456789");
	return len && len <= 15 && !text[len] ? strtoll(text, NULL, 10) : 0;
}

/* Adds a field of a line that is good once. Returns 1, 0 when it is another field, or -1. */
static int add_join_field(struct pin *pin, const char *field, struct error *err)
{
	auto_buf struct buf secret = BUF_INIT(JOIN_SECRET_SIZE);
	struct error why;
	if (strncmp(field, "agent=", 6) == 0 && !pin->agent[0] && name_is_agent(field + 6)) {
		snprintf(pin->agent, sizeof(pin->agent), "%s", field + 6);
		return 1;
	}
	if (strncmp(field, "expires=", 8) == 0 && !pin->expires) {
		pin->expires = positive(field + 8);
		return pin->expires > 0;
	}
	if (strcmp(field, "keys=new") == 0) {
		pin->new_keys = true;
		return 1;
	}
	if (strncmp(field, "secret=", 7) != 0)
		return strncmp(field, "check=", 6) == 0 && pin->joins;
	if (pin->joins || base64_decode(field + 7, &secret, &why) < 0 || secret.len != JOIN_SECRET_SIZE)
		return error_set(err, ERROR_USAGE,
			"secret: is not 32 bytes in base64, once: the line was cut or changed; copy the whole of it");
	memcpy(pin->secret, secret.data, JOIN_SECRET_SIZE);
	pin->joins = true;
	return 1;
}

/* A bad line is refused before anything is sent, since a line may be tried only a few times. */
static int check_join(const char *line, struct pin *pin, struct error *err)
{
	char wanted[JOIN_CHECK_SIZE + 1];
	const char *check = strstr(line, " check=");
	if (!pin->joins)
		return pin->agent[0] || pin->expires || pin->new_keys
			? error_set(err, ERROR_USAGE, "its end is missing: the line was cut; copy the whole of it")
			: 0;
	if (!pin->agent[0] || !pin->expires || !check || strlen(check + strlen(" check=")) != JOIN_CHECK_SIZE)
		return error_set(err, ERROR_USAGE, "a part of it is missing: the line was cut; copy the whole of it");
	if (join_line_check(line, (size_t)(check - line), wanted, err) < 0)
		return -1;
	if (strcmp(check + strlen(" check="), wanted) != 0)
		return error_set(
			err, ERROR_USAGE, "it was changed on its way (its check digits do not fit); nothing was sent");
	return join_line_digest(line, pin->digest, err);
}

static int add_field(struct pin *pin, const char *field, struct error *err)
{
	int joining = add_join_field(pin, field, err);
	if (joining)
		return joining < 0 ? -1 : 0;
	static const char sign_key[] = "sign=ed25519:", host_key[] = "host=";
	if (strncmp(field, sign_key, strlen(sign_key)) == 0) {
		const char *text = field + strlen(sign_key);
		if (!is_signer(text))
			return error_set(err, ERROR_USAGE, "%.80s: is not 32 bytes in base64", field);
		if (pin->signer_count == BUNDLE_SIGNERS_MAX)
			return error_set(err, ERROR_USAGE, "more than %d sign= fields", BUNDLE_SIGNERS_MAX);
		snprintf(pin->signers[pin->signer_count++], PIN_TEXT_MAX, "%s", text);
		return 0;
	}
	if (strncmp(field, host_key, strlen(host_key)) == 0) {
		const char *text = field + strlen(host_key);
		if (!host_pin_is_valid(text))
			return error_set(
				err, ERROR_USAGE, "%.80s: is not a fingerprint as ssh-keygen -l prints it", field);
		if (pin->host_count == PIN_HOSTS_MAX)
			return error_set(err, ERROR_USAGE, "more than %d host= fields", PIN_HOSTS_MAX);
		snprintf(pin->hosts[pin->host_count++], PIN_TEXT_MAX, "%s", text);
		return 0;
	}
	return error_set(
		err, ERROR_USAGE, "%.*s: unknown field, or one that makes no sense", (int)strcspn(field, "="), field);
}

static int parse_fields(char *text, struct pin *pin, struct error *err)
{
	char *rest = NULL;
	const char *word = strtok_r(text, " \t", &rest);
	if (!word || strcmp(word, pin_word) != 0)
		return error_set(err, ERROR_USAGE, "it does not begin with \"%s\"", pin_word);
	const char *url = strtok_r(NULL, " \t", &rest);
	if (!url || strlen(url) >= PIN_URL_MAX || (!is_ssh_url(url) && !is_socket_url(url)))
		return error_set(err, ERROR_USAGE, "%.80s: is not ssh://user@host[:port]", url ? url : "");
	snprintf(pin->url, sizeof(pin->url), "%s", url);
	for (const char *field = strtok_r(NULL, " \t", &rest); field; field = strtok_r(NULL, " \t", &rest))
		if (add_field(pin, field, err) < 0)
			return -1;
	if (!pin->signer_count)
		return error_set(err, ERROR_USAGE, "it has no sign= field");
	if (!pin->host_count && is_ssh_url(pin->url))
		return error_set(err, ERROR_USAGE, "it has no host= field");
	return 0;
}

void pin_release(struct pin *pin)
{
	explicit_bzero(pin, sizeof(*pin));
}

int pin_parse(const char *text, struct pin *ret, struct error *err)
{
	auto_pin struct pin pin = {0};
	auto_buf struct buf line = BUF_INIT(PIN_LINE_MAX), words = BUF_INIT(PIN_LINE_MAX);
	while (*text == '\n' || *text == '\r')
		text++;
	size_t len = strcspn(text, "\r\n");
	if (text[len + strspn(text + len, " \t\r\n")])
		return error_set(err, ERROR_USAGE, "the hub's line: there is more than one line");
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (buf_add(&line, text, len) < 0 || buf_add(&words, text, len) < 0 || buf_put_u8(&words, '\0') < 0)
		return error_set(err, ERROR_USAGE, "the hub's line is longer than %d bytes", PIN_LINE_MAX);
	if (parse_fields((char *)words.data, &pin, err) < 0 || check_join(buf_text(&line), &pin, err) < 0)
		return error_wrap(err, "the hub's line (`certsync agent add` prints it)");
	*ret = pin;
	return 0;
}

void pin_line(const struct pin *pin, struct buf *out)
{
	buf_addf(out, "%s %s", pin_word, pin->url);
	for (size_t i = 0; i < pin->signer_count; i++)
		buf_addf(out, " sign=ed25519:%s", pin->signers[i]);
	for (size_t i = 0; i < pin->host_count; i++)
		buf_addf(out, " host=%s", pin->hosts[i]);
	buf_addf(out, "\n");
}

/* ---- the two files ---- */

static char *pins_path(const char *directory, const char *file)
{
	return mem_printf("%s/pins/%s", directory, file);
}

/* Calls take(line) for each line that is neither empty nor a comment. */
static int each_line(struct buf *file, int (*take)(const char *line, void *context, struct error *err), void *context,
	struct error *err)
{
	auto_free char *copy = mem_strdup(buf_text(file));
	char *rest = NULL;
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r#")] = '\0';
		if (*line && take(line, context, err) < 0)
			return -1;
	}
	return 0;
}

struct comparison {
	const char (*wanted)[PIN_TEXT_MAX];
	size_t count;
	size_t found;
	bool differs;
};

static int compare_line(const char *line, void *context, struct error *err)
{
	struct comparison *c = context;
	(void)err;
	bool known = false;
	for (size_t i = 0; i < c->count; i++)
		known = known || strcmp(c->wanted[i], line) == 0;
	c->differs = c->differs || !known;
	c->found++;
	return 0;
}

/* Returns 1 when the file says the same, 0 when it does not exist or says nothing, -1 when it says something else. */
static int compare_file(const char *path, const char (*wanted)[PIN_TEXT_MAX], size_t count)
{
	auto_buf struct buf file = BUF_INIT(64 * 1024);
	struct error ignored;
	struct comparison c = {.wanted = wanted, .count = count};
	if (fs_read(AT_FDCWD, path, false, &file, &ignored) < 0)
		return access(path, F_OK) < 0 && errno == ENOENT ? 0 : -1;
	each_line(&file, compare_line, &c, &ignored);
	if (c.found == 0)
		return 0;
	return !c.differs && c.found == count ? 1 : -1;
}

static int check_same(
	const char *path, const char *what, const char (*wanted)[PIN_TEXT_MAX], size_t count, struct error *err)
{
	if (compare_file(path, wanted, count) >= 0)
		return 0;
	return error_set(err, ERROR_USAGE,
		"%s has other %s than this line: nothing was changed. If the hub really has new ones, give "
		"--replace",
		path, what);
}

static int write_lines(
	const char *path, const char *comment, const char (*lines)[PIN_TEXT_MAX], size_t count, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(8192);
	buf_addf(&text, "# %s\n", comment);
	for (size_t i = 0; i < count; i++)
		buf_addf(&text, "%s\n", lines[i]);
	return fs_write(AT_FDCWD, path, text.data, text.len, FS_PUBLIC, err);
}

int pin_check(const struct agent_config *config, const struct pin *pin, struct error *err)
{
	auto_free char *hub_keys = pins_path(config->directory, "hub_keys");
	auto_free char *host_keys = pins_path(config->directory, "host_keys");
	if (check_same(hub_keys, "signing keys", pin->signers, pin->signer_count, err) < 0)
		return -1;
	return check_same(host_keys, "host keys", pin->hosts, pin->host_count, err);
}

int pin_write(const struct agent_config *config, const struct pin *pin, bool replace, struct error *err)
{
	auto_free char *directory = mem_printf("%s/pins", config->directory);
	auto_free char *hub_keys = pins_path(config->directory, "hub_keys");
	auto_free char *host_keys = pins_path(config->directory, "host_keys");
	if (!replace && pin_check(config, pin, err) < 0)
		return -1;
	mode_t before = umask(022);
	int made = fs_make_directories(directory, 0755, err);
	umask(before);
	if (made < 0)
		return -1;
	/* The host keys are written first: what is pinned half-way opens no bundle yet. */
	if (write_lines(host_keys, "SSH host keys of the hub", pin->hosts, pin->host_count, err) < 0)
		return -1;
	return write_lines(
		hub_keys, "Ed25519 keys of the hub: they sign bundles", pin->signers, pin->signer_count, err);
}

static int add_signer(const char *line, void *context, struct error *err)
{
	struct bundle_keys *keys = context;
	auto_buf struct buf key = BUF_INIT(SEAL_KEY_SIZE);
	struct error why;
	if (keys->signer_count == BUNDLE_SIGNERS_MAX)
		return error_set(err, ERROR_PERMANENT, "more than %d keys", BUNDLE_SIGNERS_MAX);
	if (base64_decode(line, &key, &why) < 0 || key.len != SEAL_KEY_SIZE)
		return error_set(err, ERROR_PERMANENT, "%.60s is not 32 bytes in base64", line);
	memcpy(keys->signers[keys->signer_count++], key.data, SEAL_KEY_SIZE);
	return 0;
}

int pin_signers(const char *directory, struct bundle_keys *ret, struct error *err)
{
	auto_free char *path = pins_path(directory, "hub_keys");
	auto_buf struct buf file = BUF_INIT(64 * 1024);
	ret->signer_count = 0;
	if (fs_read(AT_FDCWD, path, false, &file, err) < 0)
		return error_wrap(err,
			"no hub is pinned: run certsync-agent join with the line that "
			"`certsync agent add` prints");
	if (each_line(&file, add_signer, ret, err) < 0)
		return error_wrap(err, "%s", path);
	if (!ret->signer_count)
		return error_set(err, ERROR_PERMANENT, "%s names no key", path);
	return 0;
}

/* ---- the host keys that the hub tells ---- */

/* What host_keys says: each line with a key, whether the hub had told it, and the serial of the hub's last list. */
struct host_file {
	char keys[2 * PIN_HOSTS_MAX][PIN_TEXT_MAX];
	bool told[2 * PIN_HOSTS_MAX];
	size_t count;
	int64_t serial;
};

static const char serial_line[] = "# serial ";

static void read_host_line(const char *line, struct host_file *f)
{
	char key[PIN_TEXT_MAX];
	if (strncmp(line, serial_line, strlen(serial_line)) == 0)
		f->serial = positive(line + strlen(serial_line));
	if (sscanf(line, "%63s", key) != 1 || !host_pin_is_valid(key) || f->count == COUNT(f->keys))
		return;
	memcpy(f->keys[f->count], key, sizeof(key));
	f->told[f->count++] = strstr(line, told) != NULL;
}

static int read_hosts(const char *path, struct host_file *ret, struct error *err)
{
	auto_buf struct buf file = BUF_INIT(64 * 1024);
	if (fs_read(AT_FDCWD, path, false, &file, err) < 0)
		return access(path, F_OK) < 0 && errno == ENOENT ? 0 : -1;
	auto_free char *copy = mem_strdup(buf_text(&file));
	char *rest = NULL;
	for (const char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		read_host_line(line, ret);
	return 0;
}

static bool is_told_now(const struct host_pins *p, const char *key)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->hosts[i], key) == 0)
			return true;
	return false;
}

static int write_hosts(const char *path, const struct host_file *old, const struct host_pins *p, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(16 * 1024);
	buf_addf(&text, "# SSH host keys of the hub\n# serial %lld\n", (long long)p->serial);
	for (size_t i = 0; i < old->count; i++)
		if (!old->told[i] && !is_told_now(p, old->keys[i]))
			buf_addf(&text, "%s\n", old->keys[i]);
	for (size_t i = 0; i < p->count; i++)
		buf_addf(&text, "%s # %s\n", p->hosts[i], told);
	return fs_write(AT_FDCWD, path, text.data, text.len, FS_PUBLIC, err);
}

int pin_hosts(const char *directory, const uint8_t *data, size_t len, bool *ret_changed, struct error *err)
{
	struct bundle_keys keys = {0};
	struct host_pins p;
	struct host_file old = {0};
	auto_free char *path = pins_path(directory, "host_keys");
	if (pin_signers(directory, &keys, err) < 0 || host_pins_open(data, len, &keys, &p, err) < 0 ||
		read_hosts(path, &old, err) < 0)
		return -1;
	if (p.serial < old.serial)
		return error_set(err, ERROR_UNTRUSTED,
			"host keys: the hub's list is older (%lld) than the one taken last (%lld): nothing is changed. Was the hub "
			"restored from a backup? A change of host_keys there makes a new list",
			(long long)p.serial, (long long)old.serial);
	if (p.serial == old.serial)
		return 0;
	*ret_changed = true;
	return write_hosts(path, &old, &p, err);
}

/* ---- the signing keys that the hub tells ---- */

/* Reads the serial of the list that was taken last; 0 says that a person has pinned what is there. */
static int read_serial(const char *path, int64_t *ret, struct error *err)
{
	auto_buf struct buf file = BUF_INIT(64 * 1024);
	if (fs_read(AT_FDCWD, path, false, &file, err) < 0)
		return -1;
	const char *at = strstr(buf_text(&file), serial_line);
	auto_free char *number =
		at ? mem_strndup(at + strlen(serial_line), strcspn(at + strlen(serial_line), "\n")) : NULL;
	*ret = number ? positive(number) : 0;
	return 0;
}

static bool are_pinned(const struct bundle_keys *pinned, const struct signer_list *list)
{
	bool same = pinned->signer_count == list->count;
	for (size_t i = 0; i < pinned->signer_count && same; i++)
		same = signer_list_has(list, pinned->signers[i]);
	return same;
}

static int check_serial(
	const struct bundle_keys *pinned, const struct signer_list *list, int64_t last, struct error *err)
{
	if (list->serial < last)
		return error_set(err, ERROR_UNTRUSTED,
			"signing keys: the hub's list is older (%lld) than the one taken last (%lld): nothing is changed. Was the hub "
			"restored from a backup? `certsync keys rotate` there makes a new list",
			(long long)list->serial, (long long)last);
	if (list->serial == last && !are_pinned(pinned, list))
		return error_set(err, ERROR_UNTRUSTED,
			"signing keys: the hub's list has the serial of the one taken last (%lld), and other keys than are pinned: nothing is "
			"changed. Did somebody edit pins/hub_keys? `certsync agent add` on the hub prints a line for this node",
			(long long)last);
	return 0;
}

static int write_signers(const char *path, const struct signer_list *list, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(8192);
	buf_addf(&text, "# Ed25519 keys of the hub: they sign bundles\n%s%lld\n", serial_line, (long long)list->serial);
	for (size_t i = 0; i < list->count; i++) {
		base64_encode(list->keys[i], SEAL_KEY_SIZE, &text);
		buf_addf(&text, " # %s\n", told);
	}
	return fs_write(AT_FDCWD, path, text.data, text.len, FS_PUBLIC, err);
}

int pin_signer_list(const char *directory, const uint8_t *data, size_t len, bool *ret_changed, struct error *err)
{
	struct bundle_keys pinned = {0};
	struct signer_list list;
	int64_t last = 0;
	auto_free char *path = pins_path(directory, "hub_keys");
	if (pin_signers(directory, &pinned, err) < 0 || signer_list_open(data, len, &pinned, &list, err) < 0 ||
		read_serial(path, &last, err) < 0 || check_serial(&pinned, &list, last, err) < 0)
		return -1;
	if (list.serial == last)
		return 0;
	*ret_changed = true;
	return write_signers(path, &list, err);
}
