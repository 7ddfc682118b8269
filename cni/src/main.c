/*
 * The commands of CNI. ADD and CHECK ask the collector, and STATUS does under the policy `closed`.
 * DEL and GC do nothing and need no collector: it sees a removed interface by netlink. DEL succeeds
 * with any configuration.
 */
#include <limits.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni.h"
#include "netns.h"

/* An exempt pod starts without a collector, so it does not wait for one that is absent. */
#define EXEMPT_WAIT_MS 2000
/* It waits for one that is being replaced, as in an upgrade that starts it too, but not for long. */
#define EXEMPT_RESTART_MS 20000
/* containerd calls STATUS every 5 s and waits for it. */
#define STATUS_WAIT_MS 1000

static int print_error(const struct config *config, int code, const char *message,
		       const char *details)
{
	const char *version =
		config != NULL && config->version != NULL && config->version[0] != '\0'
			? config->version
			: "1.1.0";
	json_t *error = json_pack("{s:s, s:i, s:s, s:s}", "cniVersion", version, "code", code,
				  "msg", message, "details", details);

	/* jansson rejects invalid UTF-8; truncation can cut a character. */
	if (error == NULL)
		error = json_pack("{s:s, s:i, s:s, s:s}", "cniVersion", version, "code", code,
				  "msg", message, "details", "the reason is not UTF-8");
	if (error != NULL)
		json_dumpf(error, stdout, JSON_COMPACT);
	json_decref(error);
	return 1;
}

static int print_versions(void)
{
	puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}");
	return fflush(stdout) == 0 ? 0 : 1;
}

static bool is_exempt(const struct config *config, const struct invocation *call)
{
	char namespace[256];
	size_t i;
	json_t *name;

	if (!cni_arg(call->args, "K8S_POD_NAMESPACE", namespace, sizeof(namespace)))
		return false;
	json_array_foreach(config->exempt, i,
			   name) if (strcmp(json_string_value(name), namespace) == 0) return true;
	return false;
}

/* Caller frees. NULL: no memory. */
static char *request_text(const struct config *config, const struct invocation *call)
{
	struct pod_link link;
	json_t *request =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "protocol", PROTOCOL, "command",
			  call->command, "containerId", call->container_id, "ifName", call->if_name,
			  "netns", call->netns, "args", call->args, "network", config->network);

	if (request == NULL)
		return NULL;
	if (config->prev_result != NULL)
		json_object_set(request, "result", config->prev_result);
	/* Later the pod may have changed its side. */
	if (strcmp(call->command, "ADD") == 0 && find_pod_link(call->netns, call->if_name, &link))
		json_object_set_new(request, "podLink",
				    json_pack("{s:I, s:I, s:s}", "ifindex",
					      (json_int_t)link.ifindex, "hostIfindex",
					      (json_int_t)link.host_ifindex, "mac", link.mac));
	char *text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	return text;
}

/*
 * A pod can send frames past the guard until the program at its end is attached. Its end is that of the guarded
 * interface, which the name of the pin has: a pod that runs can exchange the link of the call's name.
 */
static void guard_pod_end(const struct invocation *call, struct answer *answer)
{
	const struct pod_end *end = &answer->pod_end;
	const char *name = strrchr(end->link, '/');
	int own = open_own_netns(), netns = open_netns(call->netns);
	int netlink = own >= 0 ? open_netlink_in(own, own) : -1;
	uint32_t host_ifindex = 0;
	struct link host;

	answer->outcome = OUTCOME_FAILED;
	if (netlink < 0 || netns < 0)
		snprintf(answer->reason, sizeof(answer->reason),
			 "cannot open the network namespace %.200s", call->netns);
	else if (name == NULL || sscanf(name, "/link-%u-", &host_ifindex) != 1 ||
		 !read_link(netlink, host_ifindex, NULL, &host))
		snprintf(answer->reason, sizeof(answer->reason),
			 "cannot read the interface of %.200s", end->link);
	else if (attach_pod_end(netns, own, host.peer, host_ifindex, end->program, end->link,
				answer->reason, sizeof(answer->reason)))
		answer->outcome = OUTCOME_GUARDED;
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ netlink, netns, own }[i];
		if (fd >= 0)
			close(fd);
	}
}

static struct answer ask(const struct config *config, const struct invocation *call,
			 struct wait wait)
{
	bool is_add = strcmp(call->command, "ADD") == 0;
	char *text = request_text(config, call);
	struct answer answer = { .outcome = OUTCOME_FAILED,
				 .reason = "the request has values that are not UTF-8" };

	if (text != NULL && strlen(text) > MAX_REQUEST_BYTES)
		snprintf(answer.reason, sizeof(answer.reason),
			 "the request is larger than %d bytes", MAX_REQUEST_BYTES);
	else if (text != NULL)
		answer = ask_collector(config->socket, text, strlen(text), wait);
	free(text);
	if (is_add && answer.outcome == OUTCOME_GUARDED && answer.pod_end.link[0] != '\0')
		guard_pod_end(call, &answer);
	return answer;
}

static int print_prev_result(const struct config *config)
{
	/* Plugins of 0.4.0 and older may omit it; the runtime requires it of this one. */
	if (json_object_get(config->prev_result, "cniVersion") == NULL)
		json_object_set_new(config->prev_result, "cniVersion",
				    json_string(config->version));
	if (json_dumpf(config->prev_result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17)) != 0 ||
	    fflush(stdout) != 0)
		return print_error(config, CNI_IO_FAILURE, "cannot print the result", "");
	return 0;
}

/* The interface of a pod is guarded before its first process, or the failure policy decides. */
static int guard_interface(const struct config *config, const struct invocation *call)
{
	bool is_add = strcmp(call->command, "ADD") == 0;
	bool exempt = is_exempt(config, call);
	char pod[256];

	if (config->prev_result == NULL)
		return print_error(
			config, CNI_INVALID_CONFIG, "bailiff-cni has no prevResult",
			"it must be chained behind the plugin that creates the interface");
	/* A container that is no pod of Kubernetes has no identity to enforce. */
	if (!cni_arg(call->args, "K8S_POD_NAME", pod, sizeof(pod)))
		return is_add ? print_prev_result(config) : 0;
	struct wait wait = { .ms = config->wait_ms,
			     .restart_ms = config->restart_wait_ms,
			     .retry = true };
	if (exempt) {
		wait.ms = wait.ms < EXEMPT_WAIT_MS ? wait.ms : EXEMPT_WAIT_MS;
		wait.restart_ms =
			wait.restart_ms < EXEMPT_RESTART_MS ? wait.restart_ms : EXEMPT_RESTART_MS;
		wait.retry = collector_is_expected(config->socket);
	}
	struct answer answer = ask(config, call, wait);
	bool unguarded = answer.outcome == OUTCOME_FAILED || answer.outcome == OUTCOME_NO_ANSWER;
	if (unguarded && config->closed && !exempt)
		return print_error(config, CNI_TRY_AGAIN_LATER,
				   "the pod's interface is not guarded", answer.reason);
	if (!is_add)
		return 0;
	if (unguarded)
		count_passed(config->socket, call->args, answer.reason);
	return print_prev_result(config);
}

static int report_status(const struct config *config, const struct invocation *call)
{
	if (!config->closed)
		return 0;
	struct wait wait = { .ms = config->wait_ms < STATUS_WAIT_MS ? config->wait_ms
								    : STATUS_WAIT_MS };
	struct answer answer = ask(config, call, wait);
	if (answer.outcome == OUTCOME_GUARDED || answer.outcome == OUTCOME_NOT_APPLICABLE)
		return 0;
	return print_error(config, CNI_NOT_AVAILABLE, "the collector is not available",
			   answer.reason);
}

/* The first version of the specification that has the command. NULL: unknown command. */
static const char *since(const char *command)
{
	if (strcmp(command, "ADD") == 0 || strcmp(command, "DEL") == 0)
		return "0.3.0";
	if (strcmp(command, "CHECK") == 0)
		return "0.4.0";
	if (strcmp(command, "STATUS") == 0 || strcmp(command, "GC") == 0)
		return "1.1.0";
	return NULL;
}

/* The environment of a process may have megabytes. NULL: every variable is within its bound. */
static const char *too_long_variable(const struct invocation *call)
{
	if (strlen(call->container_id) > MAX_ID_BYTES)
		return "CNI_CONTAINERID";
	if (strlen(call->if_name) >= IFNAMSIZ)
		return "CNI_IFNAME";
	if (strlen(call->netns) >= PATH_MAX)
		return "CNI_NETNS";
	return strlen(call->args) > MAX_ARGS_BYTES ? "CNI_ARGS" : NULL;
}

static int run(struct config *config, const struct invocation *call)
{
	const char *first = since(call->command);
	char why[256] = "";

	if (!is_supported_version(config->version))
		return print_error(NULL, CNI_INCOMPATIBLE_VERSION,
				   "the CNI version is not supported", config->version);
	if (compare_versions(config->version, first) < 0)
		return print_error(config, CNI_INCOMPATIBLE_VERSION,
				   "the CNI version does not have this command", first);
	if (strcmp(call->command, "GC") == 0)
		return 0;
	int code = parse_own_keys(config, why, sizeof(why));
	if (code != 0)
		return print_error(config, code, "the configuration is invalid", why);
	if (strcmp(call->command, "STATUS") == 0)
		return report_status(config, call);
	if (call->container_id[0] == '\0' || call->if_name[0] == '\0' || call->netns[0] == '\0')
		return print_error(config, CNI_INVALID_ENVIRONMENT, "a variable is missing",
				   "CNI_CONTAINERID, CNI_NETNS and CNI_IFNAME are required");
	const char *too_long = too_long_variable(call);
	if (too_long != NULL)
		return print_error(config, CNI_INVALID_ENVIRONMENT, "a variable is too long",
				   too_long);
	return guard_interface(config, call);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

int main(void)
{
	struct invocation call = {
		.command = variable("CNI_COMMAND"),
		.container_id = variable("CNI_CONTAINERID"),
		.netns = variable("CNI_NETNS"),
		.if_name = variable("CNI_IFNAME"),
		.args = variable("CNI_ARGS"),
	};
	struct config config;
	char why[256] = "", *text = NULL;
	size_t length = 0;

	if (strcmp(call.command, "VERSION") == 0)
		return print_versions();
	if (since(call.command) == NULL)
		return print_error(NULL, CNI_INVALID_ENVIRONMENT,
				   "CNI_COMMAND is missing or unknown",
				   "ADD, DEL, CHECK, STATUS, GC and VERSION are supported");
	/*
	 * A runtime that gets an error calls no plugin before this one, which then keeps the pod's
	 * addresses. A pod chooses parts of the configuration (cni-args of Multus): it decides nothing.
	 */
	if (strcmp(call.command, "DEL") == 0) {
		skip_stdin();
		return 0;
	}
	if (!read_stdin(&text, &length, why, sizeof(why)))
		return print_error(NULL, CNI_IO_FAILURE, "cannot read the configuration", why);
	int code = parse_config(text, length, &config, why, sizeof(why));
	int status = code == 0 ? run(&config, &call)
			       : print_error(&config, code, "the configuration is invalid", why);
	json_decref(config.root);
	free(text);
	return status;
}
