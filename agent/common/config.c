#include "agent/common/config.h"
#include "agent/common/config_rows.h"
#include "agent/common/root_request.h"
#include "lib/config/config.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"
#include "lib/core/owned.h"
#include "lib/wire/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void finish_file(struct config *c, const struct config_section *s, const struct agent_file *file)
{
	static const char *const of_key[] = {"privkey", "combined", "pkcs12", "privkey-der"};
	bool holds_key = false, encrypted = file->content && strcmp(file->content, "pkcs12") == 0;
	for (size_t i = 0; file->content && i < COUNT(of_key); i++)
		holds_key = holds_key || strcmp(file->content, of_key[i]) == 0;
	if (encrypted && !config_has(s, "password_file"))
		config_fault(c, s, "content",
			"content: \"pkcs12\" needs password_file = \"/path\" beside it: a file of root's, mode 0600, with the "
			"password on one line");
	if (file->content && !encrypted && config_has(s, "password_file"))
		config_fault(c, s, "password_file", "password_file: it is for content \"pkcs12\", and this is \"%s\"",
			file->content);
	if (holds_key && (file->mode & 0007))
		config_fault(c, s, "mode",
			"mode: \"%s\" would give the private key in %s to every user: take \"0640\" and a group",
			config_entry_last(s, "mode")->values[0], file->path);
}

static void finish_service(struct config *c, const struct config_section *s, const struct agent_config *a,
	const char *certificate, struct agent_service *service)
{
	if (!service->hook)
		service->hook = mem_printf("%s/%s", a->hooks, service->name);
	if (!service->sni)
		service->sni = mem_strdup(certificate);
	for (struct config_section *file = NULL; (file = config_section_next(s, "file", file));)
		finish_file(c, file, file->object);
}

/* One message or reply has room for so many; more would be left out in silence. */
static void check_counts(struct config *c, const struct config_section *s, const struct agent_certificate *certificate)
{
	size_t probes = 0;
	if (certificate->service_count > REQUEST_SERVICES_MAX)
		config_fault(c, s, NULL, "certificate \"%s\": %zu services: %d at most", certificate->name,
			certificate->service_count, REQUEST_SERVICES_MAX);
	for (size_t i = 0; i < certificate->service_count; i++)
		for (size_t k = 0; certificate->services[i].probe[k]; k++)
			probes++;
	if (probes > MESSAGE_PROBES_MAX)
		config_fault(c, s, NULL, "certificate \"%s\": %zu endpoints to probe: %d at most", certificate->name,
			probes, MESSAGE_PROBES_MAX);
}

struct owned_file {
	const char *path;
	const struct config_section *section;
};

static int owned_compare(const void *left, const void *right)
{
	const struct owned_file *a = left, *b = right;
	int order = strcmp(a->path, b->path);
	return order ? order : a->section->line - b->section->line;
}

static size_t collect_files(const struct config_section *root, struct owned_file *ret)
{
	size_t count = 0;
	struct config_section *certificate = NULL, *service = NULL, *file = NULL;
	while ((certificate = config_section_next(root, "certificate", certificate)))
		while ((service = config_section_next(certificate, "service", service)))
			for (; (file = config_section_next(service, "file", file)); count++)
				if (ret)
					ret[count] =
						(struct owned_file){((struct agent_file *)file->object)->path, file};
	return count;
}

/* Two that write one path would undo each other for ever. (Twice in one service has been told already.) */
static void check_files(struct config *c, const struct config_section *root)
{
	size_t count = collect_files(root, NULL);
	auto_free struct owned_file *files = mem_array(count, sizeof(*files));
	collect_files(root, files);
	if (count)
		qsort(files, count, sizeof(*files), owned_compare);
	for (size_t i = 1; i < count; i++)
		if (strcmp(files[i].path, files[i - 1].path) == 0)
			config_fault(c, files[i].section, NULL,
				"file \"%s\" is written by another section too, in line %d", files[i].path,
				files[i - 1].section->line);
}

static void finish(struct config *c, struct agent_config *a)
{
	const struct config_section *root = config_root(c);
	struct config_section *s = NULL;
	if (!a->hooks)
		a->hooks = mem_printf("%s/hooks", fs_program_directory());
	for (size_t n = 0; (s = config_section_next(root, "certificate", s)); n++) {
		const struct agent_certificate *certificate = s->object;
		if (n == REQUEST_CERTIFICATES_MAX)
			config_fault(c, s, NULL, "%zu certificates: %d at most on one node", a->certificate_count,
				REQUEST_CERTIFICATES_MAX);
		for (struct config_section *service = NULL; (service = config_section_next(s, "service", service));)
			finish_service(c, service, a, certificate->name, service->object);
		check_counts(c, s, certificate);
	}
	check_files(c, root);
}

struct agent_config *agent_config_load(const char *path, struct buf *faults)
{
	struct error err;
	/* What it names is read, written and run by root. One that is missing is told of by who reads it. */
	if (access(path, F_OK) == 0 && owned_check(path, NULL, &err) < 0) {
		buf_addf(faults, "%s\n", err.message);
		return NULL;
	}
	struct agent_config *a = mem_alloc(sizeof(*a));
	a->path = mem_strdup(path);
	struct config *c = config_read(path, &agent_config_table, a, faults);
	if (c)
		finish(c, a);
	if (c && config_end(c, faults) == 0)
		return a;
	agent_config_free(a);
	return NULL;
}

void agent_config_free(struct agent_config *a)
{
	if (!a)
		return;
	config_release(&agent_config_table, a);
	free(a->path);
	free(a);
}

void agent_config_print(const struct agent_config *c, struct buf *out)
{
	config_print(&agent_config_table, c, out);
}

const struct agent_certificate *agent_config_certificate(const struct agent_config *c, const char *name)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		if (strcmp(c->certificates[i].name, name) == 0)
			return &c->certificates[i];
	return NULL;
}
