#include "hub/worker/talk.h"
#include "lib/core/base64.h"
#include "lib/core/files.h"
#include "lib/core/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void talk_init(struct talk *t)
{
	frame_stream_init(&t->in, STDIN_FILENO, FRAMES_LOCAL);
	t->out = STDOUT_FILENO;
}

void talk_release(struct talk *t)
{
	frame_stream_release(&t->in);
}

void acme_job_release(struct acme_job *j)
{
	chain_free_pkey(&j->account_key);
	for (size_t i = 0; i < ACME_PAIRS_MAX; i++) {
		chain_free_pkey(&j->pairs[i].key);
	}
	buf_release(&j->eab_hmac);
	cJSON_Delete(j->message);
	*j = (struct acme_job){0};
}

/* ---- frames ---- */

static int receive(struct talk *t, enum frame_type type, struct frame *ret, struct error *err)
{
	int found = frame_receive(&t->in, ret, err);
	if (found == 0)
		return error_set(err, ERROR_PERMANENT, "the daemon has gone");
	if (found > 0 && ret->type != type)
		return error_set(err, ERROR_PERMANENT, "the daemon sent a frame of type %d out of turn", ret->type);
	return found < 0 ? -1 : 0;
}

static cJSON *receive_message(struct talk *t, const char *event, struct error *err)
{
	struct frame frame;
	if (receive(t, FRAME_MESSAGE, &frame, err) < 0)
		return NULL;
	auto_json cJSON *message = json_parse(frame.data, frame.len, err);
	const char *got = message ? json_string(message, "event", 32, err) : NULL;
	if (got && strcmp(got, event) != 0) {
		error_set(err, ERROR_PERMANENT, "the daemon said \"%s\" where \"%s\" was due", got, event);
		got = NULL;
	}
	return got ? steal(message) : NULL;
}

static cJSON *event_new_message(const char *event)
{
	cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", event);
	return message;
}

static int send_message(struct talk *t, const cJSON *message, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(FRAME_MESSAGE_MAX);
	if (json_print(message, &text) < 0)
		return error_set(err, ERROR_PERMANENT, "a message of more than %d bytes", FRAME_MESSAGE_MAX);
	return frame_send(t->out, FRAME_MESSAGE, text.data, text.len, err);
}

static int send_files(struct talk *t, const struct files *files, struct error *err)
{
	auto_buf struct buf bytes = BUF_INIT(FRAME_FILES_MAX);
	if (files_encode(files, &bytes) < 0)
		return error_set(
			err, ERROR_PERMANENT, "%s: more than %d bytes of files", files->label, FRAME_FILES_MAX);
	return frame_send(t->out, FRAME_FILES, bytes.data, bytes.len, err);
}

static int wait_kept(struct talk *t, struct error *err)
{
	auto_json cJSON *answer = receive_message(t, "kept", err);
	return answer ? 0 : -1;
}

/* ---- the job ---- */

static const char *optional(const cJSON *message, const char *key)
{
	const cJSON *value = json_get(message, key);
	return cJSON_IsString(value) ? value->valuestring : NULL;
}

static int take_list(
	const cJSON *message, const char *key, const char **list, int max, size_t *ret_count, struct error *err)
{
	const cJSON *array = json_array(message, key, max, err), *element;
	if (!array)
		return -1;
	cJSON_ArrayForEach (element, array) {
		list[*ret_count] = json_element(element, 1024, err);
		if (!list[(*ret_count)++])
			return error_wrap(err, "%s", key);
	}
	return 0;
}

static int take_pairs(struct acme_job *j, struct error *err)
{
	const cJSON *array = json_array(j->message, "pairs", ACME_PAIRS_MAX, err), *element;
	if (!array)
		return -1;
	cJSON_ArrayForEach (element, array) {
		struct acme_pair *pair = &j->pairs[j->pair_count++];
		pair->key_type = json_string(element, "key_type", 32, err);
		pair->order_url = optional(element, "order_url");
		pair->replaces = optional(element, "replaces");
		if (!pair->key_type || talk_key(element, "key", &pair->key, err) < 0)
			return error_wrap(err, "pairs");
	}
	return j->pair_count ? 0 : error_set(err, ERROR_PERMANENT, "pairs: there is none");
}

static int take_job(struct acme_job *j, struct error *err)
{
	const cJSON *m = j->message;
	j->certificate = json_string(m, "certificate", 253, err);
	j->directory = j->certificate ? json_string(m, "directory", 2000, err) : NULL;
	if (!j->directory || json_bool(m, "agree_tos", &j->agree_tos, err) < 0 ||
		json_bool(m, "next_key", &j->next_key, err) < 0 || json_bool(m, "tls_alpn", &j->tls_alpn, err) < 0 ||
		take_pairs(j, err) < 0 || take_list(m, "names", j->names, ACME_NAMES_MAX, &j->name_count, err) < 0 ||
		take_list(m, "contact", j->contact, ACME_CONTACTS_MAX, &j->contact_count, err) < 0)
		return -1;
	j->ca_file = optional(m, "ca_file");
	j->account_url = optional(m, "account_url");
	j->profile = optional(m, "profile");
	j->preferred_chain = optional(m, "preferred_chain");
	j->anchors = optional(m, "anchors");
	j->eab_kid = optional(m, "eab_kid");
	return 0;
}

int talk_key(const cJSON *message, const char *member, EVP_PKEY **ret, struct error *err)
{
	auto_buf struct buf der = BUF_INIT(CHAIN_SPKI_MAX);
	const char *text = optional(message, member);
	if (!text)
		return 0;
	if (base64url_decode(text, &der) < 0)
		return error_set(err, ERROR_PERMANENT, "%s: is no public key", member);
	chain_free_pkey(ret);
	*ret = chain_public_key(der.data, der.len, err);
	return *ret ? 0 : error_wrap(err, "%s", member);
}

static void take_binding(const struct files *files, struct acme_job *j)
{
	int at = files_find(files, "eab.hmac");
	j->eab_hmac = BUF_INIT(FILES_FILE_MAX);
	if (at >= 0)
		buf_add(&j->eab_hmac, files->file[at].data, files->file[at].len);
}

int talk_job(struct talk *t, struct acme_job *ret, struct error *err)
{
	struct frame frame;
	struct files files;
	ret->message = receive_message(t, "job", err);
	if (!ret->message || take_job(ret, err) < 0 ||
		talk_key(ret->message, "account_key", &ret->account_key, err) < 0)
		return -1;
	if (receive(t, FRAME_FILES, &frame, err) < 0 || files_decode(frame.data, frame.len, &files, err) < 0)
		return -1;
	take_binding(&files, ret);
	return 0;
}

void talk_warning(struct talk *t, const char *text)
{
	struct error ignored;
	auto_json cJSON *message = event_new_message("warning");
	cJSON_AddStringToObject(message, "text", text);
	send_message(t, message, &ignored);
}

void talk_progress(struct talk *t, const char *fmt, ...)
{
	struct error step, ignored;
	va_list args;
	va_start(args, fmt);
	vsnprintf(step.message, sizeof(step.message), fmt, args);
	va_end(args);
	text_clean(step.message, 0);
	auto_json cJSON *message = event_new_message("progress");
	cJSON_AddStringToObject(message, "step", step.message);
	send_message(t, message, &ignored); /* a daemon that has gone is noticed when it should answer */
}

/* ---- what the daemon keeps ---- */

int talk_account(struct talk *t, const char *url, struct error *err)
{
	auto_json cJSON *message = event_new_message("account");
	cJSON_AddStringToObject(message, "url", url);
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

static cJSON *event_of_pair(const char *event, size_t pair)
{
	cJSON *message = event_new_message(event);
	cJSON_AddNumberToObject(message, "pair", (double)pair);
	return message;
}

static int receive_key(struct talk *t, EVP_PKEY **key, struct error *err)
{
	auto_json cJSON *answer = receive_message(t, "key", err);
	if (!answer || !json_string(answer, "key", 4 * CHAIN_SPKI_MAX, err))
		return -1;
	return talk_key(answer, "key", key, err);
}

int talk_account_key(struct talk *t, EVP_PKEY **key, struct error *err)
{
	auto_json cJSON *message = event_new_message("account-key");
	return send_message(t, message, err) < 0 ? -1 : receive_key(t, key, err);
}

int talk_new_key(struct talk *t, size_t pair, EVP_PKEY **key, struct error *err)
{
	auto_json cJSON *message = event_of_pair("key", pair);
	return send_message(t, message, err) < 0 ? -1 : receive_key(t, key, err);
}

int talk_order(struct talk *t, size_t pair, const char *url, struct error *err)
{
	auto_json cJSON *message = event_of_pair("order", pair);
	cJSON_AddStringToObject(message, "url", url);
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

int talk_next_key(struct talk *t, size_t pair, struct error *err)
{
	auto_json cJSON *message = event_of_pair("next", pair);
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

int talk_csr(struct talk *t, size_t pair, struct buf *out, struct error *err)
{
	auto_json cJSON *message = event_of_pair("csr", pair);
	auto_json cJSON *answer = send_message(t, message, err) < 0 ? NULL : receive_message(t, "csr", err);
	const char *text = answer ? json_string(answer, "csr", FRAME_MESSAGE_MAX, err) : NULL;
	if (!text)
		return -1;
	return base64url_decode(text, out) < 0 ? error_set(err, ERROR_PERMANENT, "csr: is none") : 0;
}

int talk_sign(struct talk *t, const char *key, struct buf *input, uint8_t ret[JWS_SIGNATURE_SIZE], struct error *err)
{
	auto_json cJSON *message = event_new_message("sign");
	auto_buf struct buf signature = BUF_INIT(JWS_SIGNATURE_SIZE);
	cJSON_AddStringToObject(message, "key", key);
	cJSON_AddStringToObject(message, "input", buf_text(input));
	auto_json cJSON *answer = send_message(t, message, err) < 0 ? NULL : receive_message(t, "signed", err);
	const char *refusal = optional(answer, "error");
	if (refusal)
		return error_set(err, ERROR_RETRY, "%s", refusal);
	const char *text = answer ? json_string(answer, "signature", 2 * JWS_SIGNATURE_SIZE, err) : NULL;
	if (!text)
		return -1;
	if (base64url_decode(text, &signature) < 0 || signature.len != JWS_SIGNATURE_SIZE)
		return error_set(err, ERROR_PERMANENT, "signature: is none");
	memcpy(ret, signature.data, JWS_SIGNATURE_SIZE);
	return 0;
}

int talk_gone(struct talk *t, size_t pair, const char *reason, struct error *err)
{
	auto_json cJSON *message = event_of_pair("gone", pair);
	cJSON_AddStringToObject(message, "reason", reason);
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

int talk_challenge(struct talk *t, const char *name, const char *token, const char *authorization, struct error *err)
{
	auto_json cJSON *message = event_new_message("challenge");
	cJSON_AddStringToObject(message, "name", name);
	cJSON_AddStringToObject(message, "token", token);
	cJSON_AddStringToObject(message, "authorization", authorization);
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

int talk_dns(struct talk *t, const cJSON *records, struct error *err)
{
	auto_json cJSON *message = event_new_message("dns");
	cJSON_AddItemToObject(message, "records", cJSON_Duplicate(records, true));
	return send_message(t, message, err) < 0 ? -1 : wait_kept(t, err);
}

int talk_issued(struct talk *t, size_t pair, const struct chain *chain, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(FILES_FILE_MAX);
	struct files files = {0};
	snprintf(files.label, sizeof(files.label), "issued%s", acme_suffix(pair));
	if (chain_write_pem(chain, CHAIN_LEAF | CHAIN_REST, &pem, err) < 0 ||
		files_add(&files, "fullchain.pem", pem.data, pem.len) < 0 || send_files(t, &files, err) < 0)
		return -1;
	return wait_kept(t, err);
}

void talk_invalid(struct talk *t, const char *name)
{
	struct error ignored;
	auto_json cJSON *message = event_new_message("invalid");
	cJSON_AddStringToObject(message, "name", name);
	send_message(t, message, &ignored);
}

/* ---- other kinds ---- */

cJSON *talk_receive(struct talk *t, const char *event, struct error *err)
{
	return receive_message(t, event, err);
}

int talk_receive_files(struct talk *t, struct files *ret, struct error *err)
{
	struct frame frame;
	return receive(t, FRAME_FILES, &frame, err) < 0 ? -1 : files_decode(frame.data, frame.len, ret, err);
}

int talk_send(struct talk *t, const cJSON *message, struct error *err)
{
	return send_message(t, message, err);
}

/* ---- the last word ---- */

int talk_done(struct talk *t, struct error *err)
{
	auto_json cJSON *message = event_new_message("done");
	return send_message(t, message, err);
}

void talk_failed(struct talk *t, const struct error *failure, int64_t retry_after, const char *trouble)
{
	static const char *const kinds[] = {
		[ERROR_NONE] = "retry",
		[ERROR_RETRY] = "retry",
		[ERROR_PERMANENT] = "permanent",
		[ERROR_UNTRUSTED] = "untrusted",
		[ERROR_USAGE] = "usage",
	};
	struct error ignored;
	auto_json cJSON *message = event_new_message("failed");
	cJSON_AddStringToObject(message, "kind", kinds[failure->kind]);
	cJSON_AddStringToObject(message, "text", failure->message);
	cJSON_AddNumberToObject(message, "retry_after", (double)retry_after);
	cJSON_AddStringToObject(message, "trouble", trouble);
	send_message(t, message, &ignored);
}

int talk_pause(struct talk *t, int64_t milliseconds, struct error *err)
{
	struct pollfd daemon = {.fd = t->in.fd, .events = POLLIN};
	int ready;
	do
		ready = poll(&daemon, 1, (int)milliseconds);
	while (ready < 0 && errno == EINTR);
	if (ready != 0)
		return error_set(err, ERROR_PERMANENT, "the daemon has gone or spoke out of turn");
	return 0;
}
