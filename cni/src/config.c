/*
 * Reads the plugin's configuration from stdin. Input is bounded, strict JSON (jansson), and every
 * value is checked for its type: a runtime or an editor of the file may write anything.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cni.h"

/* A runtime writes its configuration at once and closes the pipe. */
#define STDIN_WAIT_MS 10000

/* 0.3.0 is the first version with chained results in today's form. */
static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

bool is_supported_version(const char *version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (strcmp(versions[i], version) == 0)
			return true;
	return false;
}

/* Both are supported versions, so their order is that of the table and of their text. */
int compare_versions(const char *a, const char *b)
{
	return strcmp(a, b);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool stdin_is_ready(int64_t deadline)
{
	struct pollfd stdin_fd = { .fd = STDIN_FILENO, .events = POLLIN };

	for (;;) {
		int64_t left = deadline - now_ms();
		int ready = poll(&stdin_fd, 1, left > 0 ? (int)left : 0);
		if (ready >= 0 || errno != EINTR)
			return ready > 0;
	}
}

bool read_stdin(char **text, size_t *length, char *why, size_t why_size)
{
	size_t capacity = 16 * 1024;
	char *buffer = malloc(capacity);
	int64_t deadline = now_ms() + STDIN_WAIT_MS;

	*length = 0;
	while (buffer != NULL) {
		if (*length == capacity) {
			if (capacity >= MAX_STDIN_BYTES) {
				snprintf(why, why_size,
					 "the configuration on stdin is larger than %d bytes",
					 MAX_STDIN_BYTES);
				break;
			}
			char *larger = realloc(buffer, capacity *= 4);
			if (larger == NULL) {
				snprintf(why, why_size,
					 "cannot allocate memory for the configuration");
				break;
			}
			buffer = larger;
		}
		if (!stdin_is_ready(deadline)) {
			snprintf(why, why_size, "stdin did not end within %d ms", STDIN_WAIT_MS);
			break;
		}
		ssize_t got = read(STDIN_FILENO, buffer + *length, capacity - *length);
		if (got == 0) {
			*text = buffer;
			return true;
		}
		if (got < 0 && errno != EINTR) {
			snprintf(why, why_size, "cannot read the configuration from stdin: %s",
				 strerror(errno));
			break;
		}
		if (got > 0)
			*length += (size_t)got;
	}
	free(buffer);
	return false;
}

void skip_stdin(void)
{
	char buffer[4096];
	int64_t deadline = now_ms() + STDIN_WAIT_MS;

	while (stdin_is_ready(deadline)) {
		ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));
		if (got == 0 || (got < 0 && errno != EINTR))
			return;
	}
}

static const char *text_of(const json_t *object, const char *key, const char *absent)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value != NULL ? value : absent;
}

/* A value of another type must not become the default: `open` would then replace `closed`. */
static bool is_text_or_absent(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value == NULL || json_is_string(value);
}

static bool all_strings(const json_t *array)
{
	size_t i;
	json_t *value;

	json_array_foreach(array, i, value) if (!json_is_string(value)) return false;
	return true;
}

/* Keeps `ms` if the key is absent. False: it is no length of a wait. */
static bool read_wait(const json_t *object, const char *key, int *ms)
{
	const json_t *wait = json_object_get(object, key);
	json_int_t value = json_integer_value(wait);

	if (wait == NULL)
		return true;
	if (!json_is_integer(wait) || value < 1 || value > MAX_WAIT_MS)
		return false;
	*ms = (int)value;
	return true;
}

int parse_own_keys(struct config *config, char *why, size_t why_size)
{
	const char *policy = text_of(config->root, "failurePolicy", "open");

	if (!is_text_or_absent(config->root, "failurePolicy") ||
	    !is_text_or_absent(config->root, "socket")) {
		snprintf(why, why_size, "failurePolicy and socket must be strings");
		return CNI_INVALID_CONFIG;
	}
	config->socket = text_of(config->root, "socket", DEFAULT_SOCKET);
	/* Another path is a name in the abstract namespace, or depends on the working directory. */
	if (config->socket[0] != '/' ||
	    strlen(config->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		snprintf(why, why_size, "socket must be an absolute path of at most 107 bytes");
		return CNI_INVALID_CONFIG;
	}
	config->closed = strcmp(policy, "closed") == 0;
	config->wait_ms = DEFAULT_WAIT_MS;
	config->restart_wait_ms = DEFAULT_RESTART_WAIT_MS;
	config->exempt = json_object_get(config->root, "exemptNamespaces");
	if (!config->closed && strcmp(policy, "open") != 0) {
		snprintf(why, why_size, "failurePolicy must be \"open\" or \"closed\"");
		return CNI_INVALID_CONFIG;
	}
	if (!read_wait(config->root, "timeoutMs", &config->wait_ms) ||
	    !read_wait(config->root, "restartTimeoutMs", &config->restart_wait_ms)) {
		snprintf(why, why_size,
			 "timeoutMs and restartTimeoutMs must be integers from 1 to %d",
			 MAX_WAIT_MS);
		return CNI_INVALID_CONFIG;
	}
	if (config->exempt != NULL &&
	    (!json_is_array(config->exempt) || !all_strings(config->exempt))) {
		snprintf(why, why_size, "exemptNamespaces must be a list of names");
		return CNI_INVALID_CONFIG;
	}
	return 0;
}

int parse_config(const char *text, size_t length, struct config *config, char *why, size_t why_size)
{
	json_error_t error;

	memset(config, 0, sizeof(*config));
	config->root = json_loadb(text, length, 0, &error);
	if (config->root == NULL) {
		snprintf(why, why_size, "the configuration is not JSON: line %d: %s", error.line,
			 error.text);
		return CNI_DECODE_FAILURE;
	}
	if (!json_is_object(config->root)) {
		snprintf(why, why_size, "the configuration is not a JSON object");
		return CNI_DECODE_FAILURE;
	}
	config->version = text_of(config->root, "cniVersion", "");
	config->network = text_of(config->root, "name", "");
	config->prev_result = json_object_get(config->root, "prevResult");
	if (config->prev_result != NULL && !json_is_object(config->prev_result)) {
		snprintf(why, why_size, "prevResult is not a JSON object");
		return CNI_DECODE_FAILURE;
	}
	return 0;
}

bool cni_arg(const char *args, const char *key, char *value, size_t size)
{
	size_t key_length = strlen(key);

	while (*args != '\0') {
		size_t length = strcspn(args, ";");
		if (length > key_length && strncmp(args, key, key_length) == 0 &&
		    args[key_length] == '=') {
			size_t value_length = length - key_length - 1;
			if (value_length >= size)
				return false;
			memcpy(value, args + key_length + 1, value_length);
			value[value_length] = '\0';
			return true;
		}
		args += length;
		if (*args == ';')
			args++;
	}
	return false;
}
