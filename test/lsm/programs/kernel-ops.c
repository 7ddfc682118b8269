// SPDX-License-Identifier: Apache-2.0
/*
 * Operations on the kernel and on other tasks, for tests: `kernel-ops <operation>…` prints a line
 * `<operation> <errno name or ok>` for each. Words of an operation are separated by commas. Each runs
 * in a separate child, so that lost or gained privileges do not stay. For a killed child, the line
 * has the signal.
 *
 * hostname  chown,<path>  nice	need CAP_SYS_ADMIN, CAP_CHOWN, CAP_SYS_NICE
 * seccomp			checks CAP_SYS_ADMIN without auditing; EACCES without it
 * write,<path>			opens an existing file for writing: overlayfs copies it up
 * trusted,<path>		sets an attribute that needs CAP_SYS_ADMIN; `uring-trusted`: by io_uring;
 *				`persona-trusted`: with credentials registered before the capability was dropped
 * userns  userns-clone		a user namespace by unshare and by clone; userns-hostname: CAP_SYS_ADMIN in one, as uid 1
 * attach,<pid>  attach,child	PTRACE_SEIZE
 * mem,<pid>			opens /proc/<pid>/mem; root,<pid>: reads the link /proc/<pid>/root; stat,<pid>: reads /proc/<pid>/stat
 * readv,child			process_vm_readv; getfd,child: pidfd_getfd
 * traceme  bpf  perf  kexec
 * module			init_module of an invalid module: ENOEXEC if the kernel reads it; finit,<path>
 * rtnetlink,<what>		a request about an interface, which has no effect: `own` of this namespace; `link-id` and
 *				`target-id` of one with an id that does not exist: EINVAL; `behind-many`: after 100
 *				attributes; `second`: in the second message of a call; `too-many`: 2,000 messages, ok;
 *				`short`: asks for all of another, with the header of old programs; `addresses`, `multicast`, `anycast`: for its addresses;
 *				`by-pid`, `peer-pid`: of the process 2^31-1, directly and for the peer of a veth: ESRCH
 * kill,<pid>,<signal>  pidfd-kill,<pid>,<signal>
 * owner,<pid>			the process gets the signals of a socket, by F_SETOWN; owner-ex,<pid>: F_SETOWN_EX;
 *				owner-ioctl,<pid>: FIOSETOWN; owner-compat,<pid>: by a 32-bit call; owner,self: the own process
 * limit,<pid>  renice,<pid>  ionice,<pid>  batch,<pid>  pin,<pid>	prlimit, setpriority, ioprio_set,
 *				sched_setscheduler, sched_setaffinity, each to a value without effect; pages,<pid>: move_pages
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_WORDS      4
#define CAP_WAKE_ALARM 35

static char *words[MAX_WORDS + 1];
/* As long as an ELF header: the kernel refuses anything shorter before the hook. */
static const char no_module[128] = "no module at all";

static int is(const char *word, const char *text) { return strcmp(word, text) == 0; }

/* The target task: the pid in the words, or a child that waits. */
static pid_t target(void)
{
	pid_t child, parent = getpid();

	if (!is(words[1], "child")) return atoi(words[1]);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() ==
		    parent) /* refused at once; it may have exited before the line above */
			pause();
		_exit(0);
	}
	return child;
}

static int open_proc(const char *file)
{
	char path[64], text[256];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", target(), file);
	if (is(file, "root")) return readlink(path, text, sizeof(text));
	fd = open(path, O_RDONLY);
	return fd < 0 || is(file, "mem") ? fd : read(fd, text, sizeof(text));
}

static int enter_seccomp(void)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { 1, &pass };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int read_memory(void)
{
	static char byte;
	struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	return process_vm_readv(target(), &here, 1, &there, 1, 0);
}

static int get_descriptor(void)
{
	int pidfd = syscall(SYS_pidfd_open, target(), 0);

	return pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, 1, 0);
}

static int make_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int open_counter(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_TASK_CLOCK };

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int finit(void)
{
	int fd = open(words[1], O_RDONLY);

	return fd < 0 ? -1 : (int)syscall(SYS_finit_module, fd, "", 0);
}

static int name_in_userns(void)
{
	return setuid(1) || unshare(CLONE_NEWUSER | CLONE_NEWUTS) ? -1 : sethostname("k", 1);
}

static int clone_userns(void)
{
	int child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (child == 0) _exit(0);
	return child;
}

static int signal_by_descriptor(void)
{
	int pidfd = syscall(SYS_pidfd_open, atoi(words[1]), 0);

	return pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_send_signal, pidfd, atoi(words[2]), NULL, 0);
}

/* Sets `trusted.bailiff` through a ring of one entry. */
static int set_by_ring(int with_persona)
{
	struct io_uring_params params = {};
	int file = open(words[1], O_RDWR | O_CREAT, 0600),
	    ring = syscall(SYS_io_uring_setup, 1, &params), persona = 0, result;
	char *sq, *cq;
	struct io_uring_sqe *entry;

	if (file < 0 || ring < 0) return -1;
	if (with_persona) {
		persona =
			syscall(SYS_io_uring_register, ring, IORING_REGISTER_PERSONALITY, NULL, 0);
		if (persona < 0 || prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM)) return -1;
	}
	sq = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	entry = mmap(0, params.sq_entries * sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED,
		     ring, IORING_OFF_SQES);
	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_FSETXATTR,
		.fd = file,
		.addr = (unsigned long)"trusted.bailiff",
		.addr2 = (unsigned long)"x",
		.len = 1,
		.personality = persona,
	};
	*(unsigned *)(sq + params.sq_off.array) = 0;
	__atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -1;
	result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))->res;
	errno = -result;
	return result;
}

static int set_trusted(void)
{
	int file = open(words[1], O_RDWR | O_CREAT, 0600);

	return file < 0 ? -1 : fsetxattr(file, "trusted.bailiff", "x", 1, 0);
}

/* Appends a request about lo with attributes of one number each. Returns its length. */
static size_t add_request(char *to, int type, int attribute, int times)
{
	struct nlmsghdr *header = (void *)to;

	*header = (struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK };
	*(struct ifinfomsg *)NLMSG_DATA(header) = (struct ifinfomsg){ .ifi_index = 1 };
	header->nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg));
	for (int i = 0; i < times; i++) {
		struct rtattr *one = (void *)(to + header->nlmsg_len);

		one->rta_len = RTA_LENGTH(sizeof(int));
		/* The others are about a port of a bridge, and ignored. */
		one->rta_type = i == times - 1 ? attribute : IFLA_PROTINFO;
		*(int *)RTA_DATA(one) = attribute == IFLA_NET_NS_PID ? INT_MAX : 77;
		header->nlmsg_len += one->rta_len;
	}
	return header->nlmsg_len;
}

static void add_attribute(struct nlmsghdr *header, int type, const void *data, size_t bytes)
{
	struct rtattr *one = (void *)((char *)header + NLMSG_ALIGN(header->nlmsg_len));

	one->rta_type = type;
	one->rta_len = RTA_LENGTH(bytes);
	memcpy(RTA_DATA(one), data, bytes);
	header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + RTA_ALIGN(one->rta_len);
}

/* Asks for all interfaces or addresses of another namespace, with a header of `bytes`. */
static size_t add_dump(char *to, int type, int family, size_t bytes, int attribute)
{
	struct nlmsghdr *header = (void *)to;
	int id = 77;

	*header =
		(struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP };
	header->nlmsg_len = NLMSG_LENGTH(bytes);
	((struct rtgenmsg *)NLMSG_DATA(header))->rtgen_family = family;
	add_attribute(header, attribute, &id, sizeof(id));
	return header->nlmsg_len;
}

/* A new veth whose peer is in the network namespace of a process that does not exist. */
static size_t add_peer(char *to)
{
	struct nlmsghdr *header = (void *)to;
	struct ifinfomsg link = {};
	struct {
		struct rtattr data, peer;
		struct ifinfomsg link;
		struct rtattr pid;
		int number;
	} nested = {
		.data = { sizeof(nested), 2 },
		.peer = { sizeof(nested) - sizeof(nested.data), 1 },
		.pid = { RTA_LENGTH(sizeof(int)), IFLA_NET_NS_PID },
		.number = INT_MAX,
	};
	struct {
		struct rtattr kind;
		char name[8];
		typeof(nested) nested;
	} info = {
		.kind = { RTA_LENGTH(5), 1 },
		.name = "veth",
		.nested = nested,
	};

	*header = (struct nlmsghdr){ .nlmsg_type = RTM_NEWLINK,
				     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
						    NLM_F_EXCL };
	header->nlmsg_len = NLMSG_LENGTH(sizeof(link));
	memcpy(NLMSG_DATA(header), &link, sizeof(link));
	add_attribute(header, IFLA_ADDRESS, "\2\0\0\0\0\1", 6);
	add_attribute(header, IFLA_LINKINFO, &info, sizeof(info));
	return header->nlmsg_len;
}

/* The first error of all replies; for `link-id`, whose reply depends on the kernel, that of the call. */
static int request_link(const char *what)
{
	static char request[128 * 1024], reply[8192];
	int messages = is(what, "too-many") ? 2000 : is(what, "second") ? 2 : 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	size_t length = 0;

	if (is(what, "addresses") || is(what, "multicast") || is(what, "anycast"))
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &(int){ 1 }, sizeof(int));
	for (int i = is(what, "own") ? 0 : 1; i < messages; i++)
		length += add_request(request + length, RTM_SETLINK, 0, 0);
	if (is(what, "link-id"))
		length += add_request(request + length, RTM_NEWLINK, IFLA_LINK_NETNSID, 1);
	else if (is(what, "short"))
		length = add_dump(request, RTM_GETLINK, AF_UNSPEC, 4, IFLA_TARGET_NETNSID);
	else if (is(what, "addresses"))
		length = add_dump(request, RTM_GETADDR, AF_UNSPEC, 8, IFA_TARGET_NETNSID);
	else if (is(what, "multicast"))
		length = add_dump(request, RTM_GETMULTICAST, AF_INET6, 8, IFA_TARGET_NETNSID);
	else if (is(what, "anycast"))
		length = add_dump(request, RTM_GETANYCAST, AF_INET6, 8, IFA_TARGET_NETNSID);
	else if (is(what, "peer-pid"))
		length += add_peer(request);
	else if (is(what, "by-pid"))
		length += add_request(request, RTM_SETLINK, IFLA_NET_NS_PID, 1);
	else if (!is(what, "own"))
		length += add_request(request + length, RTM_DELLINK, IFLA_TARGET_NETNSID,
				      is(what, "behind-many") ? 100 : 1);
	if (send(fd, request, length, 0) < 0) return -1;
	for (ssize_t got;
	     !is(what, "link-id") && (got = recv(fd, reply, sizeof(reply), MSG_DONTWAIT)) > 0;)
		for (struct nlmsghdr *one = (void *)reply; NLMSG_OK(one, (size_t)got);
		     one = NLMSG_NEXT(one, got))
			if ((one->nlmsg_type == NLMSG_ERROR || one->nlmsg_type == NLMSG_DONE) &&
			    (errno = -((struct nlmsgerr *)NLMSG_DATA(one))->error))
				return -1;
	return 0;
}

/* ioctl of a 32-bit program, where there is one. */
static int ioctl_compat(int fd, unsigned command, pid_t pid)
{
#ifdef __x86_64__
	pid_t *low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int result;

	*low = pid;
	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(54), "b"(fd), "c"(command), "d"((unsigned)(unsigned long)low)
		     : "memory");
	errno = -result;
	return result < 0 ? -1 : 0;
#else
	return ioctl(fd, command, &pid);
#endif
}

static int own_signals(const char *what, pid_t pid)
{
	struct f_owner_ex owner = { F_OWNER_PID, pid };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (is(what, "owner-ex")) return fcntl(fd, F_SETOWN_EX, &owner);
	if (is(what, "owner-compat")) return ioctl_compat(fd, FIOSETOWN, pid);
	return is(what, "owner-ioctl") ? ioctl(fd, FIOSETOWN, &pid) : fcntl(fd, F_SETOWN, pid);
}

static int change_task(const char *what, pid_t pid)
{
	struct sched_param none = {};
	struct rlimit limit;
	cpu_set_t cpus;

	if (is(what, "limit"))
		return prlimit(pid, RLIMIT_CORE, NULL, &limit) ||
				       prlimit(pid, RLIMIT_CORE, &limit, NULL)
			       ? -1
			       : 0;
	if (is(what, "renice")) return setpriority(PRIO_PROCESS, pid, 0);
	if (is(what, "ionice")) return syscall(SYS_ioprio_set, 1, pid, 2 << 13 | 4);
	if (is(what, "batch")) return sched_setscheduler(pid, SCHED_OTHER, &none);
	if (is(what, "pin"))
		return sched_getaffinity(pid, sizeof(cpus), &cpus) ||
				       sched_setaffinity(pid, sizeof(cpus), &cpus)
			       ? -1
			       : 0;
	return syscall(SYS_move_pages, pid, 0, NULL, NULL, NULL, 0);
}

static int run(const char *what)
{
	if (is(what, "hostname")) return sethostname("k", 1);
	if (is(what, "chown")) return chown(words[1], 1, 1);
	if (is(what, "nice")) return setpriority(PRIO_PROCESS, 0, -5);
	if (is(what, "seccomp")) return enter_seccomp();
	if (is(what, "write")) return open(words[1], O_WRONLY);
	if (is(what, "trusted")) return set_trusted();
	if (is(what, "uring-trusted")) return set_by_ring(0);
	if (is(what, "persona-trusted")) return set_by_ring(1);
	if (is(what, "userns")) return unshare(CLONE_NEWUSER);
	if (is(what, "userns-hostname")) return name_in_userns();
	if (is(what, "userns-clone")) return clone_userns();
	if (is(what, "attach")) return ptrace(PTRACE_SEIZE, target(), 0, 0);
	if (is(what, "mem") || is(what, "root") || is(what, "stat")) return open_proc(what);
	if (is(what, "readv")) return read_memory();
	if (is(what, "getfd")) return get_descriptor();
	if (is(what, "traceme")) return ptrace(PTRACE_TRACEME, 0, 0, 0);
	if (is(what, "bpf")) return make_map();
	if (is(what, "perf")) return open_counter();
	if (is(what, "kexec")) return syscall(SYS_kexec_load, 0, 0, NULL, 0);
	if (is(what, "module")) return syscall(SYS_init_module, no_module, sizeof(no_module), "");
	if (is(what, "finit")) return finit();
	if (is(what, "rtnetlink")) return request_link(words[1]);
	if (is(what, "kill")) return kill(atoi(words[1]), atoi(words[2]));
	if (is(what, "pidfd-kill")) return signal_by_descriptor();
	if (is(what, "owner") && is(words[1], "self")) return own_signals(what, getpid());
	if (strncmp(what, "owner", 5) == 0) return own_signals(what, atoi(words[1]));
	if (is(what, "limit") || is(what, "renice") || is(what, "ionice") || is(what, "batch") ||
	    is(what, "pin") || is(what, "pages"))
		return change_task(what, atoi(words[1]));
	_exit(2);
}

/* Runs in a child, which passes its errno through a pipe: a traced child would stop at its exit. */
static void report(const char *text)
{
	int ends[2], code = -1, status;
	pid_t child;

	if (pipe(ends)) exit(2);
	child = fork();
	if (child == 0) {
		code = run(words[0]) < 0 ? errno : 0;
		if (write(ends[1], &code, sizeof(code)) != sizeof(code)) _exit(2);
		_exit(0);
	}
	waitpid(child, &status, 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	if (read(ends[0], &code, sizeof(code)) == sizeof(code))
		printf("%s %s\n", text, code ? strerrorname_np(code) : "ok");
	else
		printf("%s %s\n", text,
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "nothing");
	fflush(stdout);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *text = strdup(argv[i]);
		int count = 0;

		memset(words, 0, sizeof(words));
		for (char *word = strtok(text, ","); word && count < MAX_WORDS;
		     word = strtok(NULL, ","))
			words[count++] = word;
		report(argv[i]);
	}
	return 0;
}
