#include "hub/daemon/agents/enroll.h"
#include "hub/daemon/agents/key_changes.h"
#include "hub/daemon/agents/session.h"
#include "hub/daemon/agents/signing.h"
#include "hub/daemon/agents/join_line.h"
#include "hub/daemon/agents/enrolment.h"
#include "hub/daemon/agents/login_keys.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/wire/json.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses certsync-agent:1 ssh-ed25519 BASE64 x25519:BASE64. */
static int parse_identity(const char *line, struct enrolment *ret, struct error *err)
{
	char type[64], key[HUB_KEY_TEXT_MAX], seal_key[128], rest[2];
	static const char form[] = "certsync-agent:1 TYPE KEY x25519:KEY, as `certsync-agent identity` prints it";
	if (sscanf(line, "certsync-agent:1 %63s %799s x25519:%127s %1s", type, key, seal_key, rest) != 3)
		return error_set(err, ERROR_USAGE, "this is not the line of an agent (%s)", form);
	if (snprintf(ret->ssh, sizeof(ret->ssh), "%s %s", type, key) >= (int)sizeof(ret->ssh) ||
		!hub_key_is_valid(ret->ssh))
		return error_set(
			err, ERROR_USAGE, "\"%s …\" is not an SSH public key that is taken here (%s)", type, form);
	return enrolment_parse_key(seal_key, ret->seal, err);
}

/* Two agents with one key could not be told apart, and sshd would take both for the first one. */
static int check_unique(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	for (size_t i = 0; i < hub->config->agent_count; i++) {
		struct enrolment other;
		struct error ignored;
		const char *name = hub->config->agents[i].name;
		if (strcmp(name, agent) == 0 || enrolment_find(hub, name, &other, &ignored) <= 0)
			continue;
		if (strcmp(other.ssh, e->ssh) == 0 || memcmp(other.seal, e->seal, sizeof(e->seal)) == 0 ||
			(other.rotates &&
				(strcmp(other.next_ssh, e->ssh) == 0 ||
					memcmp(other.next_seal, e->seal, sizeof(e->seal)) == 0)))
			return error_set(err, ERROR_USAGE,
				"agent %s has this key already: is this line of another node, or of a clone?", name);
	}
	return 0;
}

static bool same_keys(const struct enrolment *a, const struct enrolment *b)
{
	return strcmp(a->ssh, b->ssh) == 0 && memcmp(a->seal, b->seal, SEAL_KEY_SIZE) == 0;
}

/* Writes down that the agent is `given` these keys, then makes that so: `e` is its record from now on. To give the same
 * keys once more is no change. */
static int change(struct hub *hub, const char *agent, const char *what, const struct enrolment *before,
	const struct enrolment *given, const struct enrolment *e, struct error *err)
{
	bool none = before && !before->rotates && same_keys(before, given);
	if (!none && key_changes_note(hub, agent, what, before, given, err) < 0)
		return -1;
	if (enrolment_put(hub, agent, e, err) == 0)
		return 0;
	if (!none)
		key_changes_take_back(hub);
	return -1;
}

int enroll_keys(struct hub *hub, const char *agent, const char *ssh, const uint8_t seal_key[SEAL_KEY_SIZE],
	bool rotates, uid_t by, struct error *err)
{
	struct enrolment e = {.added = clock_wall()}, old;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	snprintf(e.ssh, sizeof(e.ssh), "%s", ssh);
	memcpy(e.seal, seal_key, SEAL_KEY_SIZE);
	if (check_unique(hub, agent, &e, err) < 0)
		return -1;
	int found = enrolment_find(hub, agent, &old, err);
	if (found < 0)
		return -1;
	bool same = found && same_keys(&old, &e);
	struct enrolment after = rotates && found && !same ? old : e;
	if (rotates && found && !same) {
		after.rotates = true;
		after.rotation = old.rotation ? old.rotation : e.added;
		memcpy(after.next_ssh, e.ssh, sizeof(e.ssh));
		memcpy(after.next_seal, e.seal, sizeof(e.seal));
	}
	snprintf(what, sizeof(what), "%s by a node that joined with the line of %s",
		after.rotates ? "new keys, which wait to be proven, were given" : "its keys were given",
		key_changes_who(by, who));
	if (change(hub, agent, what, found ? &old : NULL, &e, &after, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "enrolled", "agent=%s%s", agent,
		after.rotates ? " keys=new, which are to be proven" : "");
	if (found && !same && !after.rotates)
		session_drop(hub, agent, "another node has joined in its place");
	login_keys_send(hub);
	return 0;
}

int enroll_rotate(struct hub *hub, const char *agent, uid_t by, struct error *err)
{
	struct enrolment e;
	if (enrolment_find(hub, agent, &e, err) <= 0)
		return -1;
	e.rotation = e.rotation ? e.rotation : clock_wall();
	e.rotation_by = by;
	return enrolment_put(hub, agent, &e, err);
}

static int prove(struct hub *hub, const char *agent, const char *mark, struct error *err)
{
	struct enrolment old;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	int found = enrolment_find(hub, agent, &old, err);
	if (found <= 0 || !old.rotates || (mark && !enrolment_has_mark(old.next_ssh, mark)))
		return found < 0 ? -1 : 0;
	struct enrolment e = {.added = clock_wall()};
	memcpy(e.ssh, old.next_ssh, sizeof(e.ssh));
	memcpy(e.seal, old.next_seal, sizeof(e.seal));
	snprintf(what, sizeof(what), "its new keys were seen to work, and the old ones are gone, as %s had asked for",
		key_changes_who(old.rotation_by, who));
	if (change(hub, agent, what, &old, &e, &e, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "rotated", "agent=%s keys=\"the new ones were proven, the old ones are gone\"",
		agent);
	login_keys_send(hub);
	return 0;
}

int enroll_prove(struct hub *hub, const char *agent, const char *mark)
{
	struct error err;
	int result = prove(hub, agent, mark, &err);
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "store", "agent=%s error=\"%s\"", agent, err.message);
	return result;
}

int enroll_may_replace(struct hub *hub, const char *agent, bool replace, struct error *err)
{
	struct enrolment e;
	char since[CLOCK_TEXT_MAX];
	auto_buf struct buf text = BUF_INIT(128);
	int found = replace ? 0 : enrolment_find(hub, agent, &e, err);
	if (found <= 0)
		return found;
	if (enrolment_fingerprint(e.ssh, &text, err) < 0)
		return -1;
	return error_set(err, ERROR_USAGE,
		"agent %s has keys (SSH key %s, since %s) and is %s: are others to take their place? Then say --replace: the old ones open "
		"nothing any more from the moment that the new ones are here. `certsync agent rotate %s` gives the same node new ones "
		"without a pause; where somebody else may have them, `certsync agent remove %s` first ends all that they opened",
		agent, buf_text(&text), clock_text(e.added, since),
		session_find(hub, agent) ? "connected with them" : "not connected now", agent, agent);
}

/* Whoever else had these keys would be let in again. */
static int check_removed(struct hub *hub, const char *agent, const struct enrolment *e, struct error *err)
{
	struct enrolment old;
	struct error ignored;
	if (enrolment_find_removed(hub, agent, &old, &ignored) <= 0 ||
		(strcmp(old.ssh, e->ssh) != 0 && memcmp(old.seal, e->seal, SEAL_KEY_SIZE) != 0))
		return 0;
	return error_set(err, ERROR_USAGE,
		"these keys were taken away from agent %s: whoever else has them would be let in again. `certsync agent add %s` prints a line by "
		"which its node makes new ones; where nobody else can have them, say --replace",
		agent, agent);
}

int enroll_add(struct hub *hub, const char *agent, const char *identity, bool replace, uid_t by, struct error *err)
{
	struct enrolment e = {.added = clock_wall()}, before;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	if (!hub_config_agent(hub->config, agent))
		return error_set(err, ERROR_USAGE,
			"%s has no section agent \"%s\": add it, tell the hub (SIGHUP to certsync-hub-root), then try again",
			hub->config_path, agent);
	if (parse_identity(identity, &e, err) < 0)
		return -1;
	if (check_unique(hub, agent, &e, err) < 0)
		return -1;
	int found = enrolment_find(hub, agent, &before, err);
	bool same = found > 0 && same_keys(&before, &e);
	/* This puts a damaged record right, too. */
	if (found > 0 && !same && enroll_may_replace(hub, agent, replace, err) < 0)
		return -1;
	if (!same && !replace && check_removed(hub, agent, &e, err) < 0)
		return -1;
	snprintf(what, sizeof(what), "its keys were given by hand, by %s", key_changes_who(by, who));
	/* A line for the agent that is still open would bring other keys in the place of these. */
	if (join_line_drop(hub, agent, err) < 0 ||
		change(hub, agent, what, found > 0 ? &before : NULL, &e, &e, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "enrolled", "agent=%s", agent);
	if (!same)
		session_drop(hub, agent, "it was added anew with other keys");
	login_keys_send(hub);
	return 0;
}

int enroll_remove(struct hub *hub, const char *agent, uid_t by, struct error *err)
{
	struct enrolment e;
	struct error ignored;
	char who[KEY_CHANGES_WHO_MAX], what[KEY_CHANGES_WHAT_MAX];
	auto_buf struct buf text = BUF_INIT(ENROLMENT_RECORD_MAX);
	int found = name_is_agent(agent) ? store_get(hub->store, "agents", agent, "agent.json", &text, err) : 0;
	const bool unreadable = found < 0;
	if (unreadable && err->kind == ERROR_RETRY)
		return -1;
	if (found == 0 && !hub_config_agent(hub->config, agent))
		return error_set(err, ERROR_USAGE, "there is no agent \"%s\": certsync agent list shows them", agent);
	snprintf(what, sizeof(what), "its keys were removed by %s", key_changes_who(by, who));
	/* What is no file is removed, too, since its key stands in authorized_keys. */
	bool sound = found > 0 && enrolment_decode(&text, &e, &ignored) == 0;
	if (found && key_changes_note(hub, agent, what, sound ? &e : NULL, NULL, err) < 0)
		return -1;
	if (found && !unreadable &&
		store_put(hub->store, "removed-agents", agent, "agent.json", text.data, text.len, err) < 0)
		return -1;
	if ((found && store_drop(hub->store, "agents", agent, err) < 0) || join_line_drop(hub, agent, err) < 0)
		return -1;
	log_event(LOG_LEVEL_NOTICE, "removed", "agent=%s", agent);
	session_drop(hub, agent, "the agent was removed");
	login_keys_send(hub);
	return 0;
}

/* ---- the line that an agent pins ---- */

static int add_host(const char *path, struct buf *out, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(16 * 1024);
	if (fs_read(AT_FDCWD, path, true, &text, err) < 0)
		return -1;
	buf_addf(out, " host=");
	if (enrolment_fingerprint(buf_text(&text), out, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

int enroll_hub_line(struct hub *hub, const char *agent, struct buf *out, struct error *err)
{
	const struct hub_agent *configured = hub_config_agent(hub->config, agent);
	if (configured && configured->local) {
		buf_addf(out, "certsync-hub:1 unix://%s/local.sock ", hub->config->run);
		signing_add_fields(hub, out);
		return 0;
	}
	if (!hub->config->ssh)
		return error_set(err, ERROR_USAGE,
			"%s has no `ssh`: how do agents reach this hub? For example "
			"ssh = \"certsync-gate@hub.example.org:22\"",
			hub->config_path);
	buf_addf(out, "certsync-hub:1 ssh://%s ", hub->config->ssh);
	signing_add_fields(hub, out);
	for (char **path = hub->config->host_keys; path && *path; path++)
		if (add_host(*path, out, err) < 0)
			return error_wrap(err, "host_keys");
	return 0;
}
