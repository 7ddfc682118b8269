/* SPDX-License-Identifier: Apache-2.0 */
/*
 * labtool: native helper of the lab. It joins a network namespace and a cgroup, and then is a pod's
 * process (serve), an attacker (send), a witness (count), ordinary traffic (talk), or starts another
 * program (run). Every subcommand reports on stdout, one JSON object per line.
 */
#ifndef LABTOOL_H
#define LABTOOL_H

#include <stdint.h>

/* Exit statuses: 0 done, 1 an operating error (text on stderr), 2 wrong arguments. */
#define EXIT_USAGE 2

/* Limit of a frame in bytes: an Ethernet frame of a 1500-byte link with two VLAN tags. */
#define MAX_FRAME 1526

/* Reads a decimal number within [min, max] or ends the process with EXIT_USAGE. */
long number_or_exit(const char *text, const char *what, long min, long max);
/* Prints "labtool: what: strerror(errno)" and ends the process with status 1. */
void fail(const char *what) __attribute__((noreturn));
void usage(const char *line) __attribute__((noreturn));

/* Microseconds since 1970 (realtime), the unit of the bus's times; and monotonic nanoseconds for pacing. */
int64_t now_micros(void);
int64_t monotonic_ns(void);
/* Sleeps until monotonic_ns() reaches the given time. */
void sleep_until_ns(int64_t at_ns);

/* An AF_PACKET socket bound to an interface; receive = false creates one without received traffic. */
int open_packet_socket(const char *ifname, int receive);

int cmd_send(int argc, char **argv);
int cmd_count(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_talk(int argc, char **argv);

#endif
