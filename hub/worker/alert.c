#include "hub/worker/alert.h"
#include "hub/worker/talk.h"
#include "hub/worker/mail.h"
#include "hub/worker/confined.h"
#include "hub/worker/protocols.h"
#include "lib/core/clock.h"
#include "lib/core/helo.h"
#include "lib/service/hook.h"
#include "lib/core/mem.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CONNECT_SECONDS = 15,
	TOTAL_SECONDS = 60,
	ANSWER_MAX = 400, /* of what the other side says, kept */
	MAIL_MAX = 128 * 1024,
	PASSWORD_MAX = 1024,
	TARGET_MAX = 4096,
};

struct delivery {
	const cJSON *job;
	const void *text; /* the message as JSON */
	size_t text_len;
	const cJSON *message;
	struct buf password;     /* empty: none was sent */
	char answer[ANSWER_MAX]; /* the last line that the other side said */
};

/* ---- what mail and webhooks share ---- */

/* Keeps a server's last line (SMTP) or the beginning of its answer (HTTP). */
static void keep_answer(struct delivery *d, const char *data, size_t len)
{
	len = len < ANSWER_MAX - 1 ? len : ANSWER_MAX - 1;
	memcpy(d->answer, data, len);
	d->answer[len] = '\0';
	d->answer[strcspn(d->answer, "\r\n")] = '\0';
	text_clean(d->answer, 0);
}

/* Of what libcurl shows, only what came in is kept, since what goes out has passwords. The answer to QUIT says nothing,
 * and a refusal is the last word. */
static int on_debug(CURL *curl, curl_infotype type, char *data, size_t len, void *context)
{
	(void)curl;
	struct delivery *d = context;
	bool refused = d->answer[0] == '4' || d->answer[0] == '5';
	if (type == CURLINFO_HEADER_IN && len >= 4 && strncmp(data, "221", 3) != 0 && !refused)
		keep_answer(d, data, len);
	return 0;
}

static void set_common(CURL *curl, const struct delivery *d, char reason[CURL_ERROR_SIZE])
{
	const char *ca_file = json_text(d->job, "ca_file");
	reason[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOTAL_SECONDS);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	if (ca_file[0]) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
}

static int failed(CURLcode code, const char *reason, const char *what, struct error *err)
{
	return error_set(err, ERROR_RETRY, "%s: %s", what, reason[0] ? reason : curl_easy_strerror(code));
}

/* ---- mail ---- */

struct upload {
	const struct buf *bytes;
	size_t at;
};

static size_t on_read(char *to, size_t size, size_t count, void *context)
{
	struct upload *u = context;
	size_t left = u->bytes->len - u->at, len = size * count < left ? size * count : left;
	memcpy(to, u->bytes->data + u->at, len);
	u->at += len;
	return len;
}

static int print_mail(const struct delivery *d, struct buf *out, struct error *err)
{
	const char *from = json_text(d->job, "from"), *at = strchr(from, '@');
	const struct alert_mail mail = {
		.from = from,
		.to = json_text(d->job, "target"),
		.subject = json_text(d->message, "subject"),
		.text = json_text(d->message, "text"),
		.id = json_text(d->message, "id"),
		.host = at ? at + 1 : "localhost",
		.now = clock_wall(),
	};
	if (alert_mail_print(&mail, out) < 0)
		return error_set(err, ERROR_PERMANENT, "the mail is longer than %d bytes", MAIL_MAX);
	return 0;
}

static int set_login(CURL *curl, struct delivery *d, struct error *err)
{
	if (!d->password.len)
		return error_set(err, ERROR_PERMANENT, "the daemon sent no password");
	curl_easy_setopt(curl, CURLOPT_USERNAME, json_text(d->job, "user"));
	curl_easy_setopt(curl, CURLOPT_PASSWORD, buf_text(&d->password));
	return 0;
}

static CURLcode send_mail(CURL *curl, struct delivery *d, const struct buf *mail, long tls)
{
	struct upload upload = {mail, 0};
	struct curl_slist *to = curl_slist_append(NULL, json_text(d->job, "target"));
	curl_easy_setopt(curl, CURLOPT_USE_SSL, tls);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
	CURLcode code = curl_easy_perform(curl);
	curl_slist_free_all(to);
	return code;
}

/* libcurl greets a server by what stands behind the slash, and by the machine's bare name else, which many servers refuse when
 * it has no dot. A machine that is called by no full name is called by the domain that the mail comes from. */
static char *greeting_url(const struct delivery *d)
{
	char own[HELO_MAX], host[HELO_MAX] = "";
	const char *smtp = json_text(d->job, "smtp"), *given = json_text(d->job, "helo");
	const char *domain = strrchr(json_text(d->job, "from"), '@');
	if (strchr(strstr(smtp, "://") + 3, '/'))
		return mem_strdup(smtp);
	const char *helo = given[0] ? given : helo_of_host(true, own);
	gethostname(host, sizeof(host) - 1);
	return helo[0] || !domain ? mem_printf("%s/%s", smtp, helo) : mem_printf("%s/%s.%s", smtp, host, domain + 1);
}

static int deliver_mail(CURL *curl, struct delivery *d, struct error *err)
{
	char reason[CURL_ERROR_SIZE];
	auto_buf struct buf mail = BUF_INIT(MAIL_MAX);
	const char *smtp = json_text(d->job, "smtp");
	bool login = json_text(d->job, "user")[0];
	bool as_it_comes = !login && strncmp(smtp, "smtp://", 7) == 0; /* else it must be had, and be trusted */
	set_common(curl, d, reason);
	if (print_mail(d, &mail, err) < 0 || (login && set_login(curl, d, err) < 0))
		return -1;
	auto_free char *url = greeting_url(d);
	protocols_allow(curl, CURLPROTO_SMTP | CURLPROTO_SMTPS);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, json_text(d->job, "from"));
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(curl, CURLOPT_DEBUGDATA, d);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, as_it_comes ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, as_it_comes ? 0L : 2L);
	CURLcode code = send_mail(curl, d, &mail, as_it_comes ? CURLUSESSL_TRY : CURLUSESSL_ALL);
	if (code == CURLE_SSL_CONNECT_ERROR && as_it_comes) {
		d->answer[0] = '\0';
		code = send_mail(curl, d, &mail, CURLUSESSL_NONE);
	}
	if (code == CURLE_OK)
		return 0;
	failed(code, reason, smtp, err);
	/* The greeting of a connection that then broke explains nothing. */
	if (d->answer[0] == '4' || d->answer[0] == '5')
		error_set(err, ERROR_RETRY, "%s: the server said: %s", smtp, d->answer);
	return -1;
}

/* ---- webhooks ---- */

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct delivery *d = context;
	if (!d->answer[0])
		keep_answer(d, data, size * count);
	return size * count;
}

static int deliver_webhook(CURL *curl, struct delivery *d, struct error *err)
{
	char reason[CURL_ERROR_SIZE];
	long status = 0;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	set_common(curl, d, reason);
	protocols_allow(curl, CURLPROTO_HTTP | CURLPROTO_HTTPS);
	curl_easy_setopt(curl, CURLOPT_URL, json_text(d->job, "target"));
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "certsync/" CERTSYNC_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, d->text);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)d->text_len);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, 1024L * 1024);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return failed(code, reason, "webhook", err);
	auto_free char *said = mem_strdup(d->answer);
	snprintf(d->answer, sizeof(d->answer), "HTTP %ld%s%.300s", status, said[0] ? ": " : "", said);
	return status / 100 == 2 ? 0 : error_set(err, ERROR_RETRY, "the webhook answered %s", d->answer);
}

/* ---- the command ---- */

static int deliver_command(struct delivery *d, struct error *err)
{
	static const char *const envp[] = {PROC_PATH, NULL};
	const char *const argv[] = {json_text(d->job, "target"), NULL};
	const struct hook_call call = {.argv = argv,
		.envp = envp,
		.timeout = TOTAL_SECONDS,
		.stop_fd = -1,
		.input = d->text,
		.input_len = d->text_len};
	auto_free struct hook_result *result = mem_alloc(sizeof(*result));
	if (hook_run(&call, result, err) < 0)
		return error_wrap(err, "%s", argv[0]);
	const char *end = result->output + strlen(result->output);
	if (result->exit_code == 0) {
		keep_answer(d, "exited 0", strlen("exited 0"));
		return 0;
	}
	return error_set(err, ERROR_RETRY, "%s exited %d: %s", argv[0], result->exit_code,
		end - result->output > ANSWER_MAX ? end - ANSWER_MAX : result->output);
}

/* ---- one delivery ---- */

static int deliver(struct delivery *d, struct error *err)
{
	const char *type = json_text(d->job, "type");
	if (strcmp(type, "command") == 0)
		return deliver_command(d, err);
	CURL *curl = curl_easy_init();
	if (!curl)
		return error_set(err, ERROR_RETRY, "libcurl cannot be set up");
	int result = strcmp(type, "email") == 0 ? deliver_mail(curl, d, err) : deliver_webhook(curl, d, err);
	curl_easy_cleanup(curl);
	return result;
}

static int take_password(struct delivery *d, const struct files *files, struct error *err)
{
	int at = files_find(files, "password");
	if (at >= 0 && buf_add(&d->password, files->file[at].data, files->file[at].len) < 0)
		return error_set(err, ERROR_PERMANENT, "the password is longer than %d bytes", PASSWORD_MAX);
	while (d->password.len && strchr("\r\n", d->password.data[d->password.len - 1]))
		d->password.len--;
	return 0;
}

static int work(struct talk *talk, struct delivery *d, struct error *err)
{
	struct files files;
	auto_json cJSON *job = talk_receive(talk, "job", err);
	if (!job || talk_receive_files(talk, &files, err) < 0)
		return -1;
	int at = files_find(&files, "message");
	if (at < 0 || !json_string(job, "target", TARGET_MAX, err))
		return error_set(err, ERROR_PERMANENT, "there is no message, or nobody to get it");
	auto_json cJSON *message = json_parse(files.file[at].data, files.file[at].len, err);
	if (!message)
		return -1;
	worker_confine(job);
	d->job = job;
	d->message = message;
	d->text = files.file[at].data;
	d->text_len = files.file[at].len;
	return take_password(d, &files, err) < 0 ? -1 : deliver(d, err);
}

int alert_worker(void)
{
	struct talk talk;
	struct delivery d = {.password = BUF_INIT(PASSWORD_MAX)};
	struct error err, ignored;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&talk);
	int result = work(&talk, &d, &err);
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", result < 0 ? "failed" : "done");
	cJSON_AddStringToObject(message, "text", result < 0 ? err.message : d.answer);
	talk_send(&talk, message, &ignored);
	buf_release(&d.password);
	talk_release(&talk);
	return result < 0 ? 1 : 0;
}
