/*
 * Runs a program and holds it before and after one of its bpf() calls and each later one, so that a test acts
 * between two steps:
 *
 *   hold <number of the call> <program> [arguments]
 *
 * Prints `held` there and continues after a line, or at the end of stdin. Exits with the program's code.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)

static bool is_bpf_entry(pid_t child)
{
	struct __ptrace_syscall_info info;

	memset(&info, 0, sizeof(info));
	return ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) > 0 &&
	       info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == __NR_bpf;
}

int main(int argc, char **argv)
{
	bool inside = false;
	int status, calls = argc > 2 ? atoi(argv[1]) : 0;
	pid_t child = calls > 0 ? fork() : -1;

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 126;
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	while (ptrace(PTRACE_SYSCALL, child, 0, 0) == 0 && waitpid(child, &status, 0) == child &&
	       WIFSTOPPED(status)) {
		if (WSTOPSIG(status) != SYSCALL_STOP)
			continue;
		bool held = inside;
		inside = !inside && is_bpf_entry(child) && --calls <= 0;
		if (!held && !inside)
			continue;
		puts("held");
		fflush(stdout);
		for (int c = 0; c != '\n' && c != EOF;)
			c = getchar();
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
