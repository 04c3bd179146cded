#include "agent/common/config.h"
#include "lib/config/config.h"
#include "lib/core/mem.h"

static void print_globals(const struct agent_config *a, struct buf *out)
{
	auto_free char **hubs = mem_array(a->hub_count + 1, sizeof(*hubs));
	for (size_t i = 0; i < a->hub_count; i++)
		hubs[i] = a->hubs[i].text;
	config_put_list(out, 0, "hub", hubs);
	config_put(out, 0, "directory", a->directory);
	config_put(out, 0, "state", a->state);
	config_put(out, 0, "root_state", a->root_state);
	config_put(out, 0, "run", a->run);
	config_put(out, 0, "hooks", a->hooks);
	config_put(out, 0, "user", a->user);
	config_put(out, 0, "admin_group", a->admin_group);
	config_put(out, 0, "anchors", a->anchors);
	config_put_duration(out, 0, "probe_timeout", a->probe_timeout);
	config_put_duration(out, 0, "probe_interval", a->probe_interval);
}

static void print_file(const struct agent_file *f, struct buf *out)
{
	auto_free char *mode = mem_printf("%04o", (unsigned)f->mode);
	config_put_section(out, 2, "file", f->path);
	config_put(out, 3, "content", f->content);
	config_put(out, 3, "owner", f->owner);
	config_put(out, 3, "group", f->group);
	config_put(out, 3, "mode", mode);
	config_put_end(out, 2);
}

static void print_service(const struct agent_service *s, struct buf *out)
{
	config_put_section(out, 1, "service", s->name);
	if (s->probe[0])
		config_put_list(out, 2, "probe", s->probe);
	else
		buf_addf(out, "\t\tprobe = none\n");
	config_put(out, 2, "hook", s->hook);
	config_put(out, 2, "user", s->user);
	if (s->instance[0])
		config_put_list(out, 2, "instance", s->instance);
	config_put(out, 2, "sni", s->sni);
	config_put_duration(out, 2, "timeout", s->timeout);
	for (size_t i = 0; i < s->file_count; i++)
		print_file(&s->files[i], out);
	config_put_end(out, 1);
}

static void print_alert(const struct agent_alert *a, struct buf *out)
{
	config_put_section(out, 0, "alert", NULL);
	config_put(out, 1, "command", a->command);
	config_put_duration(out, 1, "hub_away", a->hub_away);
	config_put_duration(out, 1, "expiring", a->expiring);
	config_put_duration(out, 1, "repeat", a->repeat);
	config_put_end(out, 0);
}

void agent_config_print(const struct agent_config *a, struct buf *out)
{
	print_globals(a, out);
	print_alert(&a->alert, out);
	for (size_t i = 0; i < a->certificate_count; i++) {
		const struct agent_certificate *certificate = &a->certificates[i];
		config_put_section(out, 0, "certificate", certificate->name);
		config_put_list(out, 1, "allow", certificate->allow);
		for (size_t k = 0; k < certificate->service_count; k++)
			print_service(&certificate->services[k], out);
		config_put_end(out, 0);
	}
}
