#include "hub/cli/haproxy.h"
#include "hub/common/config.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/wire/ask.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

enum { FAULTS_MAX = 64 * 1024 };

/* The path has the token's alphabet, so that nothing else of a request comes back in an answer. */
#define IS_CHALLENGE "acl certsync_challenge path_reg ^/[.]well-known/acme-challenge/[A-Za-z0-9_-]+$"

const struct cli_option config_haproxy_options[] = {
	{"--stateless", NULL, "let HAProxy answer by itself, as any number of nodes can"},
	{"--tls-alpn", NULL, "print what tls-alpn-01 needs instead"},
	{"--account", "NAME", "answer for the account of this acme section, with --stateless"},
	{NULL, NULL, NULL},
};

static void print_frontend(void)
{
	printf("# Where a frontend has port 80 already, put the lines from acl to the end of this frontend "
	       "into it, as its first.\n"
	       "# A redirect to https there needs: unless certsync_challenge\n"
	       "\n"
	       "frontend certsync_http\n"
	       "\tmode http\n"
	       "\ttimeout client 10s\n"
	       "\tbind :80\n"
	       "\t# Where the names have IPv6 addresses, too:\n"
	       "\t#bind [::]:80 v6only\n"
	       "\t" IS_CHALLENGE "\n");
}

static void print_responder(const char *http)
{
	printf("# http-01 by certsync: challenges go to the hub on this node, which answers them.\n");
	print_frontend();
	printf("\tuse_backend certsync_challenge if certsync_challenge\n"
	       "\n"
	       "backend certsync_challenge\n"
	       "\tmode http\n"
	       "\ttimeout connect 5s\n"
	       "\ttimeout server 10s\n"
	       "\tserver hub %s\n",
		http);
}

static void print_page(const char *page)
{
	printf("\n"
	       "# The status page of certsync, and its metrics, for those whom you let in. Into a frontend that ends TLS, "
	       "with a name of yours:\n"
	       "#\tacl certsync_page hdr(host) -i certsync.domain.pl\n"
	       "#\thttp-request auth realm certsync if certsync_page !{ http_auth(certsync_readers) }\n"
	       "#\tuse_backend certsync_page if certsync_page\n"
	       "\n"
	       "userlist certsync_readers\n"
	       "\t# The hash is what mkpasswd -m sha-512 prints:\n"
	       "\t#user reader password $6$...\n"
	       "\n"
	       "backend certsync_page\n"
	       "\tmode http\n"
	       "\ttimeout connect 5s\n"
	       "\ttimeout server 15s\n"
	       "\thttp-request del-header Authorization\n"
	       "\tserver hub %s\n",
		page);
}

static void print_stateless(const char *account, const char *thumbprint)
{
	printf("# http-01 without state: HAProxy answers by itself, for orders of the account \"%s\" alone. "
	       "The same lines do on any\n"
	       "# number of nodes. The hub goes on as ever, only that nobody asks its responder. They are to "
	       "be printed again when\n"
	       "# the account has another key.\n",
		account);
	print_frontend();
	printf("\thttp-request return status 200 content-type text/plain lf-string "
	       "\"%%[path,field(-1,/)].%s\" "
	       "if certsync_challenge\n",
		thumbprint);
}

/* A content rule has to stand there: without one HAProxy decides about the backend before it has read the hello. */
static void print_tls_alpn(const char *address)
{
	printf("# tls-alpn-01 by certsync: this frontend takes port 443, ends no TLS, and passes what offers acme-tls/1 to the "
	       "hub on this\n"
	       "# node. All else goes on to the frontend that ends TLS, whose bind on port 443 becomes:\n"
	       "#\tbind 127.0.0.1:8443 accept-proxy ssl crt ...\n"
	       "# Where nothing else is served on port 443, leave out default_backend and the last backend.\n"
	       "\n"
	       "frontend certsync_tls\n"
	       "\tmode tcp\n"
	       "\ttimeout client 1h\n"
	       "\tbind :443\n"
	       "\t# Where the names have IPv6 addresses, too:\n"
	       "\t#bind [::]:443 v6only\n"
	       "\ttcp-request inspect-delay 5s\n"
	       "\ttcp-request content accept if { req.ssl_hello_type 1 }\n"
	       "\ttcp-request content reject\n"
	       "\tuse_backend certsync_tls_alpn if { req.ssl_alpn acme-tls/1 }\n"
	       "\tdefault_backend certsync_https\n"
	       "\n"
	       "backend certsync_tls_alpn\n"
	       "\tmode tcp\n"
	       "\ttimeout connect 5s\n"
	       "\ttimeout server 15s\n"
	       "\tserver hub %s\n"
	       "\n"
	       "backend certsync_https\n"
	       "\tmode tcp\n"
	       "\ttimeout connect 5s\n"
	       "\ttimeout server 1h\n"
	       "\tserver https 127.0.0.1:8443 send-proxy-v2\n",
		address);
}

static void keep_result(const cJSON *answer, void *context)
{
	cJSON **result = context;
	cJSON_Delete(*result);
	*result = cJSON_Duplicate(answer, true);
}

/* Both texts go into a file that somebody hands to HAProxy, so their alphabets are checked. */
static int show_answer(const cJSON *answer)
{
	struct error err;
	const cJSON *refusal = json_get(answer, "error");
	if (cJSON_IsString(refusal))
		return cli_fail(CLI_FAILED, "%s", refusal->valuestring);
	const char *account = json_string(answer, "account", NAME_AGENT_MAX, &err);
	const char *thumbprint = account ? json_string(answer, "thumbprint", JWS_THUMBPRINT_MAX, &err) : NULL;
	if (!thumbprint || !base64url_is(thumbprint, JWS_THUMBPRINT_MAX))
		return cli_fail(CLI_FAILED, "the hub's answer is not understood: is it of another version?");
	print_stateless(account, thumbprint);
	return CLI_DONE;
}

static int ask_thumbprint(const char *run, const char *account)
{
	struct error err;
	auto_free char *path = mem_printf("%s/control.sock", run);
	auto_json cJSON *request = cJSON_CreateObject();
	auto_json cJSON *answer = NULL;
	cJSON_AddStringToObject(request, "command", "thumbprint");
	if (account)
		cJSON_AddStringToObject(request, "account", account);
	int exit_code = ask(path, request, NULL, keep_result, &answer, &err);
	if (exit_code < 0)
		return cli_fail(CLI_UNREACHABLE,
			"the hub, which has the account's key, cannot be reached: %s. Does "
			"certsync-hub-root run here, and are you in the group that may use it?",
			err.message);
	int shown = show_answer(answer);
	return exit_code == CLI_DONE ? shown : exit_code;
}

int command_config_haproxy(const struct cli_line *line)
{
	bool stateless = cli_has(line, "--stateless");
	const char *account = cli_value(line, "--account", 0);
	bool tls_alpn = cli_has(line, "--tls-alpn");
	if (stateless && tls_alpn)
		return cli_fail(CLI_USAGE, "--stateless is for http-01, and --tls-alpn for tls-alpn-01: one of them");
	if (account && !stateless)
		return cli_fail(CLI_USAGE, "--account goes with --stateless");
	if (stateless && cli_config_is_hidden(line))
		return ask_thumbprint(HUB_RUN_DEFAULT, account);
	auto_buf struct buf faults = BUF_INIT(FAULTS_MAX);
	struct hub_config *config = hub_config_load(line->config, &faults);
	if (!config) {
		fputs(buf_text(&faults), stderr);
		return CLI_USAGE;
	}
	int exit_code = CLI_DONE;
	if (stateless)
		exit_code = ask_thumbprint(config->run, account);
	else if (tls_alpn)
		print_tls_alpn(config->tls_alpn);
	else
		print_responder(config->http);
	if (config->page && !tls_alpn)
		print_page(config->page);
	hub_config_free(config);
	return exit_code;
}
