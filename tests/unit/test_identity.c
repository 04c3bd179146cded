/* The agent's keys, which are made once and kept; and the hub's line, which is taken in its one form alone. */
#include "agent/root/identity.h"
#include "agent/common/pin.h"
#include "tests/unit/scratch.h"
#include "lib/core/base64.h"

static const char hub_key[] = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
static const char host_key[] = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDR/CvhZ+cMHbiCLqA";

static struct directories places_of(const struct scratch *s)
{
	mkdirat(s->fd, "root", 0700);
	mkdirat(s->fd, "state", 0700);
	return (struct directories){
		.root_state = openat(s->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.state = openat(s->fd, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.run = -1,
		.pins = -1,
	};
}

static void keys_are_made_once_and_kept(void **state)
{
	const struct scratch *s = *state;
	struct directories directories = places_of(s);
	auto_identity struct identity first = {0};
	auto_identity struct identity second = {0};
	auto_buf struct buf line = BUF_INIT(512);
	struct error err;
	assert_int_equal(identity_load(&directories, &first, &err), 0);
	assert_int_equal(identity_load(&directories, &second, &err), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	assert_int_equal(scratch_mode(s, "root/seal.key"), 0600);
	assert_int_equal(scratch_mode(s, "state/id_ed25519"), 0600);
	identity_line(&first, &line);
	auto_free char *expected = mem_printf("certsync-agent:1 ssh-ed25519 %s x25519:", first.ssh_public);
	assert_memory_equal(buf_text(&line), expected, strlen(expected));
	directories_close(&directories);
}

static void ssh_itself_reads_the_key(void **state)
{
	const struct scratch *s = *state;
	struct directories directories = places_of(s);
	auto_identity struct identity identity = {0};
	struct error err;
	char line[512] = "";
	assert_int_equal(identity_load(&directories, &identity, &err), 0);
	auto_free char *command = mem_printf("ssh-keygen -y -P '' -f %s/state/id_ed25519", s->path);
	FILE *output = popen(command, "r");
	assert_non_null(output);
	assert_non_null(fgets(line, sizeof(line), output));
	assert_int_equal(pclose(output), 0);
	auto_free char *expected = mem_printf("ssh-ed25519 %s", identity.ssh_public);
	assert_memory_equal(line, expected, strlen(expected));
	auto_buf struct buf public_file = BUF_INIT(512);
	assert_memory_equal(scratch_read(s, "state/id_ed25519.pub", &public_file), expected, strlen(expected));
	directories_close(&directories);
}

static void a_public_half_that_is_lost_or_wrong_is_written_again(void **state)
{
	const struct scratch *s = *state;
	struct directories directories = places_of(s);
	auto_identity struct identity first = {0};
	auto_identity struct identity second = {0};
	auto_buf struct buf text = BUF_INIT(512);
	struct error err;
	assert_int_equal(identity_load(&directories, &first, &err), 0);
	scratch_write(s, "state/id_ed25519.pub", "ssh-ed25519 AAAA\n", 0644);
	assert_int_equal(unlinkat(s->fd, "root/seal.pub", 0), 0);
	assert_int_equal(identity_load(&directories, &second, &err), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	assert_non_null(strstr(scratch_read(s, "state/id_ed25519.pub", &text), first.ssh_public));
	directories_close(&directories);
}

static void a_private_key_that_cannot_be_used_is_never_replaced(void **state)
{
	const struct scratch *s = *state;
	struct directories directories = places_of(s);
	auto_identity struct identity identity = {0};
	auto_buf struct buf text = BUF_INIT(512);
	struct error err;
	scratch_write(s, "root/seal.key", "short", 0600);
	assert_int_equal(identity_load(&directories, &identity, &err), -1);
	assert_non_null(strstr(err.message, "seal.key has 5 bytes"));
	assert_string_equal(scratch_read(s, "root/seal.key", &text), "short");
	unlinkat(s->fd, "root/seal.key", 0);
	scratch_write(s, "state/id_ed25519", "-----BEGIN RSA PRIVATE KEY-----\n", 0600);
	assert_int_equal(identity_load(&directories, &identity, &err), -1);
	assert_non_null(strstr(err.message, "id_ed25519 is not an Ed25519 key"));
	directories_close(&directories);
}

static void keys_that_were_rotated_meanwhile_are_taken(void **state)
{
	const struct scratch *s = *state;
	struct directories directories = places_of(s);
	auto_identity struct identity first = {0};
	auto_identity struct identity next = {0};
	auto_identity struct identity now = {0};
	struct error err;
	assert_int_equal(identity_load(&directories, &first, &err), 0);
	now = first;
	assert_int_equal(identity_next(&directories, &next, &err), 0);
	assert_int_equal(identity_refresh(&directories, &now, &err), 0);
	assert_memory_equal(&now, &first, sizeof(first));
	/* The exchange was interrupted behind its first step. */
	assert_int_equal(renameat(directories.root_state, "seal.key.next", directories.root_state, "seal.key"), 0);
	assert_int_equal(identity_refresh(&directories, &now, &err), 0);
	assert_memory_equal(&now, &next, sizeof(next));
	assert_int_equal(faccessat(directories.state, "id_ed25519.next", F_OK, 0), -1);
	directories_close(&directories);
}

static void the_hubs_line_is_read(void **state)
{
	(void)state;
	struct pin pin;
	struct error err;
	auto_free char *line =
		mem_printf("certsync-hub:1 ssh://certsync-gate@haproxy.domain.pl:2222 sign=ed25519:%s host=%s\n",
			hub_key, host_key);
	assert_int_equal(pin_parse(line, &pin, &err), 0);
	assert_string_equal(pin.url, "ssh://certsync-gate@haproxy.domain.pl:2222");
	assert_int_equal(pin.signer_count, 1);
	assert_string_equal(pin.signers[0], hub_key);
	assert_string_equal(pin.hosts[0], host_key);
	auto_free char *bracket = mem_printf(
		"certsync-hub:1 ssh://g@[2001:db8::1] sign=ed25519:%s host=%s host=%s", hub_key, host_key, host_key);
	assert_int_equal(pin_parse(bracket, &pin, &err), 0);
	assert_int_equal(pin.host_count, 2);
	auto_free char *local =
		mem_printf("certsync-hub:1 unix:///run/certsync-hub/local.sock sign=ed25519:%s", hub_key);
	assert_int_equal(pin_parse(local, &pin, &err), 0);
}

static void a_line_with_anything_wrong_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"",
		"certsync-hub:2 ssh://g@h sign=ed25519:%s host=%s",
		"certsync-hub:1 http://g@h sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://-oProxyCommand=x@h sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://g@-oProxyCommand=x sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://g@h:0 sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://g@h:22x sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://g@[::1 sign=ed25519:%s host=%s",
		"certsync-hub:1 ssh://g@h sign=ed25519:%.40s host=%s",
		"certsync-hub:1 ssh://g@h sign=ed25519:%s host=%.40s",
		"certsync-hub:1 ssh://g@h sign=ed25519:%s",
		"certsync-hub:1 ssh://g@h sign=ed25519:%s host=%s other=1",
		"certsync-hub:1 ssh://g@h sign=ed25519:%s host=%s\ncertsync-hub:1 ssh://g@h",
	};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct pin pin;
		struct error err;
		char line[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
		snprintf(line, sizeof(line), wrong[i], hub_key, host_key);
#pragma GCC diagnostic pop
		assert_int_equal(pin_parse(line, &pin, &err), -1);
		assert_int_equal(err.kind, ERROR_USAGE);
	}
}

static struct pin sample_pin(const char *signer)
{
	struct pin pin = {.signer_count = 1, .host_count = 1, .url = "ssh://g@h"};
	strcpy(pin.signers[0], signer);
	strcpy(pin.hosts[0], host_key);
	return pin;
}

static void pins_are_kept_unless_replacing_is_asked_for(void **state)
{
	const struct scratch *s = *state;
	static const char other[] = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
	const struct agent_config config = {.directory = (char *)(uintptr_t)s->path};
	struct pin mine = sample_pin(hub_key), theirs = sample_pin(other);
	struct bundle_keys keys = {0};
	struct error err;
	auto_buf struct buf expected = BUF_INIT(SEAL_KEY_SIZE);
	assert_int_equal(pin_signers(s->path, &keys, &err), -1);
	assert_non_null(strstr(err.message, "no hub is pinned"));
	assert_int_equal(pin_write(&config, &mine, false, &err), 0);
	assert_int_equal(pin_write(&config, &mine, false, &err), 0);
	assert_int_equal(scratch_mode(s, "pins/hub_keys"), 0644);
	assert_int_equal(pin_write(&config, &theirs, false, &err), -1);
	assert_non_null(strstr(err.message, "--replace"));
	assert_int_equal(pin_signers(s->path, &keys, &err), 0);
	assert_int_equal(keys.signer_count, 1);
	base64_decode(hub_key, &expected, &err);
	assert_memory_equal(keys.signers[0], expected.data, SEAL_KEY_SIZE);
	assert_int_equal(pin_write(&config, &theirs, true, &err), 0);
	assert_int_equal(pin_signers(s->path, &keys, &err), 0);
	assert_memory_not_equal(keys.signers[0], expected.data, SEAL_KEY_SIZE);
}

static void a_pin_file_with_a_bad_line_pins_nothing(void **state)
{
	const struct scratch *s = *state;
	struct bundle_keys keys = {0};
	struct error err;
	mkdirat(s->fd, "pins", 0755);
	scratch_write(s, "pins/hub_keys", "# a comment\n\n11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= # and another\n",
		0644);
	assert_int_equal(pin_signers(s->path, &keys, &err), 0);
	assert_int_equal(keys.signer_count, 1);
	scratch_write(s, "pins/hub_keys", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\nnonsense\n", 0644);
	assert_int_equal(pin_signers(s->path, &keys, &err), -1);
	scratch_write(s, "pins/hub_keys", "# nothing\n", 0644);
	assert_int_equal(pin_signers(s->path, &keys, &err), -1);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(keys_are_made_once_and_kept),
		STORY(ssh_itself_reads_the_key),
		STORY(a_public_half_that_is_lost_or_wrong_is_written_again),
		STORY(a_private_key_that_cannot_be_used_is_never_replaced),
		STORY(keys_that_were_rotated_meanwhile_are_taken),
		STORY(the_hubs_line_is_read),
		STORY(a_line_with_anything_wrong_is_refused),
		STORY(pins_are_kept_unless_replacing_is_asked_for),
		STORY(a_pin_file_with_a_bad_line_pins_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
