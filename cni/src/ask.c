/*
 * One request to the collector over its unix socket, within a deadline. An absent or restarting
 * collector (no socket, a stale socket, a connection that ends without an answer) is retried until
 * then: the collector handles a repeated request like the first one. The deadline is later if the
 * collector ran a moment ago, because the kubelet waits before it restarts a container.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cni.h"

/* Pause between two attempts. */
#define RETRY_MS 20

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - now_ms();
		if (left <= 0)
			return false;
		int ready = poll(&poll_fd, 1, (int)left);
		if (ready > 0)
			return true;
		if (ready == 0 || errno != EINTR)
			return false;
	}
}

/* Only root may answer for the collector: the directory is root's, and this holds if it is not. */
static bool peer_is_root(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static int connect_to(const char *path, char *why, size_t why_size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	/* parse_own_keys checks the length. */
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		snprintf(why, why_size, "cannot connect to the collector at %.120s: %s", path,
			 strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!peer_is_root(fd)) {
		snprintf(why, why_size, "the process that serves %.120s is not root", path);
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const char *data, size_t length, int64_t deadline)
{
	while (length > 0) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
		if (sent > 0) {
			data += sent;
			length -= (size_t)sent;
		} else if (sent < 0 && errno == EAGAIN) {
			if (!wait_for(fd, POLLOUT, deadline))
				return false;
		} else if (sent < 0 && errno != EINTR) {
			return false;
		}
	}
	return shutdown(fd, SHUT_WR) == 0;
}

/* Reads to the end of the stream. Returns the length, or -1: no end within the bounds. */
static ssize_t receive_all(int fd, char *buffer, size_t size, int64_t deadline)
{
	size_t length = 0;

	while (length < size) {
		ssize_t got = recv(fd, buffer + length, size - length, 0);
		if (got == 0)
			return (ssize_t)length;
		if (got > 0) {
			length += (size_t)got;
		} else if (errno == EAGAIN) {
			if (!wait_for(fd, POLLIN, deadline))
				return -1;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return -1;
}

/* Copies as much as fits, up to the end of a UTF-8 character. */
static void copy_reason(char *to, size_t size, const char *reason)
{
	size_t length = strlen(reason);

	if (length >= size) {
		length = size - 1;
		while (length > 0 && ((unsigned char)reason[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(to, reason, length);
	to[length] = '\0';
}

/* Absent from collectors that have no program for it. */
static void read_pod_end(const json_t *pins, struct pod_end *end)
{
	const char *program = json_string_value(json_object_get(pins, "program"));
	const char *link = json_string_value(json_object_get(pins, "link"));

	memset(end, 0, sizeof(*end));
	if (program == NULL || link == NULL || strlen(program) >= sizeof(end->program) ||
	    strlen(link) >= sizeof(end->link))
		return;
	strcpy(end->program, program);
	strcpy(end->link, link);
}

/* Returns whether the answer has a known form. `again`: the collector asks to repeat the request. */
static bool read_answer(const char *text, size_t length, struct answer *answer, bool *again)
{
	json_t *root = json_loadb(text, length, 0, NULL);
	const char *outcome = json_string_value(json_object_get(root, "outcome"));
	const char *reason = json_string_value(json_object_get(root, "reason"));
	bool known = true;

	/* It lacks descriptors or memory at this moment. */
	*again = json_is_true(json_object_get(root, "again"));

	if (outcome != NULL && strcmp(outcome, "guarded") == 0)
		answer->outcome = OUTCOME_GUARDED;
	else if (outcome != NULL && strcmp(outcome, "not-applicable") == 0)
		answer->outcome = OUTCOME_NOT_APPLICABLE;
	else if (outcome != NULL && strcmp(outcome, "failed") == 0)
		answer->outcome = OUTCOME_FAILED;
	else
		known = false;
	if (known) {
		copy_reason(answer->reason, sizeof(answer->reason), reason != NULL ? reason : "");
		read_pod_end(json_object_get(root, "podEnd"), &answer->pod_end);
	}
	json_decref(root);
	return known;
}

/*
 * Returns whether the collector decided. Otherwise `answer->reason` says what failed. `again`: the collector asked to
 * repeat the request, now or before.
 */
static bool try_once(const char *path, const char *request, size_t length, int64_t deadline,
		     struct answer *answer, bool *again)
{
	static char text[MAX_ANSWER_BYTES];
	bool was_again = *again;
	int fd = connect_to(path, answer->reason, sizeof(answer->reason));

	if (fd < 0)
		return false;
	ssize_t got = send_all(fd, request, length, deadline)
			      ? receive_all(fd, text, sizeof(text), deadline)
			      : -1;
	close(fd);
	if (got > 0 && read_answer(text, (size_t)got, answer, again))
		return !*again;
	*again = was_again;
	const char *problem = "ended the connection";
	if (got > 0)
		problem = "gave an answer that this plugin cannot read";
	else if (got == 0)
		problem = "closed the connection without an answer";
	else if (now_ms() >= deadline) {
		/* The bound ended a repetition: the reason of the former answer says more. */
		if (was_again)
			return false;
		problem = "did not answer in time";
	}
	snprintf(answer->reason, sizeof(answer->reason), "the collector at %.120s %s", path,
		 problem);
	return false;
}

struct answer ask_collector(const char *path, const char *request, size_t length, struct wait wait)
{
	struct answer answer = { .outcome = OUTCOME_NO_ANSWER };
	int64_t start = now_ms(), deadline = start + wait.ms;
	bool extended = wait.restart_ms <= wait.ms, again = false;

	for (;;) {
		if (try_once(path, request, length, deadline, &answer, &again))
			return answer;
		answer.outcome = OUTCOME_NO_ANSWER;
		if (!wait.retry)
			return answer;
		if (now_ms() + RETRY_MS >= deadline) {
			if (extended || !collector_is_expected(path))
				return answer;
			extended = true;
			deadline = start + wait.restart_ms;
		}
		poll(NULL, 0, RETRY_MS);
	}
}
