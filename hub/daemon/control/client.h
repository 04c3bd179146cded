/* An operator's connection: what has been asked on it, what is followed for it, how it is answered. It is for the
 * modules that answer requests (hub/daemon/control/control.c has the table of them).
 */
#ifndef CERTSYNC_HUB_DAEMON_CONTROL_CLIENT_H
#define CERTSYNC_HUB_DAEMON_CONTROL_CLIENT_H

#include "hub/daemon/hub.h"
#include "hub/daemon/rollout/rollout.h"
#include "lib/cli/cli.h"
#include "lib/core/files.h"
#include "lib/wire/json.h"

enum { CONTROL_NAMES_MAX = 256 };

/* A certificate that a client follows. */
struct followed {
	struct rollout *rollout;
	int *told;              /* each agent's state as the client knows it */
	bool renewing;          /* wait for the order first */
	struct revision wanted; /* which revision this is about; (0, 0): what the order will bring */
	char step[128];         /* of the order, as the client knows it */
};

struct client {
	struct client *next;
	struct hub *hub;
	struct conn *conn;
	uid_t uid;
	char error[ERROR_MESSAGE_MAX]; /* why an order failed that it waits for */
	struct event *check;           /* looks, from the loop, whether there is news */
	struct followed *followed;
	size_t followed_count;
	char agents[CONTROL_NAMES_MAX][NAME_AGENT_MAX]; /* those asked for; none: all */
	size_t agent_count;
	/* For import and recover the client waits for the files of this certificate. */
	void (*files)(struct client *c, const struct files *files); /* NULL: for none */
	char certificate[NAME_CERTIFICATE_MAX];
	bool may_expire_sooner;
	struct revision archive;       /* whose content the files are */
	char enrolled[NAME_AGENT_MAX]; /* agent-add */
	void (*gone)(void *context);   /* it waits for something of another module: told when the client ends */
	void *gone_context;
	uint64_t awaits_keys;            /* it waits for the root half: for this answer; 0: for none */
	char *told;                      /* owned: what it is told then as "line"; NULL: the hub's line */
	bool rotates;                    /* agent-join */
	void (*watch)(struct client *c); /* NULL, or what it is told anew upon every change */
};

void client_free(struct client *c);
void control_close_all(struct hub *hub);
/* Answers every request that is under way with this reason; their connections end by themselves. */
void control_end_all(struct hub *hub, const char *reason);
/* Something has changed, about this certificate or (NULL) about none in particular. Whoever follows it, or watches, is
 * told, and so is hub/daemon/alert. */
void control_changed(struct hub *hub, const struct rollout *r);

struct hub *client_hub(const struct client *c);
void client_say(struct client *c, cJSON *o); /* takes it over */
/* Says how this agent stands with this certificate, as this event. */
void client_say_agent(struct client *c, const struct rollout *r, const struct rollout_agent *a, const char *event);
/* Gives the last answer: "result" with this exit code, and a text under `key` (NULL for none). */
void client_finish(struct client *c, enum cli_exit exit_code, const char *key, const char *text);
/* Does the same with an "error". */
void client_refuse(struct client *c, enum cli_exit exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Tells the client of every change of this certificate until it has converged or rests, the order first. */
void client_follow(struct client *c, struct rollout *r, bool renewing);
void client_check(evutil_socket_t fd, short what, void *context); /* an event's: looks whether there is news */
/* Returns whether the request is about this agent. */
bool client_addresses(const struct client *c, const struct rollout_agent *a);

/* `tell` is called now and after every change of whatever certificate, until the client ends. */
void client_watch(struct client *c, void (*tell)(struct client *c));

/* The client waits for something that goes on without it: `gone` is called if the client ends before client_done. */
void client_wait(struct client *c, void (*gone)(void *context), void *context);
void client_done(struct client *c);

#endif
