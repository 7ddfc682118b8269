/*
 * bailiff-cni: a CNI plugin that is chained behind the cluster's plugin. On ADD it asks the collector
 * to guard and bind the pod's interface, waits for the answer within a bound, and prints the result
 * of the plugin before it unchanged.
 *
 * It holds no state and needs no credentials. Every error reaches the runtime as a CNI error object
 * on stdout. See docs/adr/0017-cni-plugin.md for the protocol and the failure policies.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Limits: a real configuration has 1-8 KiB, a real answer 100 bytes. */
#define MAX_STDIN_BYTES	 (1024 * 1024)
#define MAX_ANSWER_BYTES (64 * 1024)
/* The collector closes the connection of a larger request. */
#define MAX_REQUEST_BYTES (1536 * 1024)
/* A runtime passes some 64 bytes of a container id and 200 bytes of arguments. */
#define MAX_ID_BYTES	256
#define MAX_ARGS_BYTES	(64 * 1024)
#define MAX_PIN_BYTES	512
#define MAX_WAIT_MS	60000
#define DEFAULT_WAIT_MS 10000
/* Longer than two restarts of the kubelet, whose first waits are 10 and 20 s. */
#define DEFAULT_RESTART_WAIT_MS 60000
#define DEFAULT_SOCKET		"/run/bailiff/cni.sock"
/* The version of the protocol with the collector. */
#define PROTOCOL 1

/* Codes of the CNI specification. */
enum cni_code {
	CNI_INCOMPATIBLE_VERSION = 1,
	CNI_INVALID_ENVIRONMENT = 4,
	CNI_IO_FAILURE = 5,
	CNI_DECODE_FAILURE = 6,
	CNI_INVALID_CONFIG = 7,
	CNI_TRY_AGAIN_LATER = 11,
	CNI_NOT_AVAILABLE = 50,
};

struct config {
	json_t *root; /* owns every string below */
	const char *version;
	const char *network;
	const char *socket;
	bool closed;
	int wait_ms;
	int restart_wait_ms; /* for a collector that is expected back; never shorter than wait_ms */
	json_t *exempt;
	json_t *prev_result; /* NULL: absent */
};

/* What the runtime passes in the environment. Absent values are empty. */
struct invocation {
	const char *command;
	const char *container_id;
	const char *netns;
	const char *if_name;
	const char *args;
};

/* The pod's side of the interface, as the kernel reports it. A pod that runs can have changed it. */
struct pod_link {
	uint32_t ifindex;
	uint32_t host_ifindex; /* 0: no peer in another namespace */
	char mac[18];
};

enum outcome {
	OUTCOME_GUARDED,	/* programs are attached and the identity is in the kernel */
	OUTCOME_NOT_APPLICABLE, /* nothing can be guarded: the reason says why */
	OUTCOME_FAILED,		/* the collector refused */
	OUTCOME_NO_ANSWER,	/* absent, or not within the bound */
};

/* Pins of the program for the pod's end, and of its link. Empty: there is none to attach. */
struct pod_end {
	char program[MAX_PIN_BYTES];
	char link[MAX_PIN_BYTES];
};

struct answer {
	enum outcome outcome;
	char reason[512];
	struct pod_end pod_end;
};

/* config.c */
/* Bounded in size and time: a runtime that does not close stdin must not hold a node's pods. */
bool read_stdin(char **text, size_t *length, char *why, size_t why_size);
/* Until its end, so that the runtime can write all of it. Bounded in time. */
void skip_stdin(void);
/* Returns 0, or a CNI code with the reason in `why`. */
int parse_config(const char *text, size_t length, struct config *config, char *why,
		 size_t why_size);
/* The keys that the collector writes into the configuration; DEL and GC do not depend on them. */
int parse_own_keys(struct config *config, char *why, size_t why_size);
bool is_supported_version(const char *version);
int compare_versions(const char *a, const char *b);
/* Copies the value of a key in CNI_ARGS (`A=1;B=2`); false: absent or too long. */
bool cni_arg(const char *args, const char *key, char *value, size_t size);

/* How long ask_collector repeats a request. 0 for `restart_ms`: no longer than `ms`. */
struct wait {
	int ms;
	int restart_ms;
	bool retry;
};

/* ask.c */
struct answer ask_collector(const char *socket_path, const char *request, size_t length,
			    struct wait wait);

/* pod_link.c */
/* False: `netns` is no network namespace, or it has no such interface. */
bool find_pod_link(const char *netns, const char *if_name, struct pod_link *link);

/* seen.c */
/* A collector ran on this node a moment ago, so the kubelet is restarting it. */
bool collector_is_expected(const char *socket_path);

/* passed.c */
/* Counts a pod that starts without a guard, in a file beside the socket. */
void count_passed(const char *socket_path, const char *args, const char *reason);
