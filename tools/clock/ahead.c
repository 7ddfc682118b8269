/*
 * Moves the wall clock of a process by AHEAD_SECONDS, for `scripts/test --ahead`. Loaded by
 * LD_PRELOAD. Monotonic clocks stay. A wait that ends by the wall clock is not moved: it would be too
 * long, and no program of the tests has one.
 *
 * - Programs that use libc call the functions below instead of libc's.
 * - Go programs, such as nats-server, read the clock from the vDSO, without libc. The Go runtime
 *   looks up clock_gettime in the vDSO's symbol table when it starts. Before that, the entry is
 *   pointed at clock_ahead, in this process alone. libc has read the table by then.
 *
 * Nothing here allocates before main(): the allocator of Redis reads the clock.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Smaller times are no times of the clock. */
#define LEAST_WALL_SECONDS 1000000000

typedef int (*clock_function)(clockid_t clock, struct timespec *now);
static clock_function vdso_clock;

/* The kernel's result: a negative errno if it failed. */
static long system_call(long number, const long words[6])
{
#if defined(__x86_64__)
	register long result __asm__("rax") = number;
	register long rdi __asm__("rdi") = words[0];
	register long rsi __asm__("rsi") = words[1];
	register long rdx __asm__("rdx") = words[2];
	register long r10 __asm__("r10") = words[3];
	register long r8 __asm__("r8") = words[4];
	register long r9 __asm__("r9") = words[5];

	__asm__ volatile("syscall"
			 : "+r"(result)
			 : "r"(rdi), "r"(rsi), "r"(rdx), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long result __asm__("x0") = words[0];
	register long x1 __asm__("x1") = words[1];
	register long x2 __asm__("x2") = words[2];
	register long x3 __asm__("x3") = words[3];
	register long x4 __asm__("x4") = words[4];
	register long x5 __asm__("x5") = words[5];

	__asm__ volatile("svc 0"
			 : "+r"(result)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return result;
#endif
}

static int system_clock(clockid_t clock, struct timespec *now)
{
	return (int)system_call(SYS_clock_gettime, (long[6]){ clock, (long)now });
}

/* 0 or a negative errno, as in the vDSO. */
static int clock_ahead(clockid_t clock, struct timespec *now)
{
	int error = (vdso_clock ? vdso_clock : system_clock)(clock, now);

	if (error == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += AHEAD_SECONDS;
	return error;
}

/* Ends the program: at the present time its test would prove nothing. */
static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

/* The kernel changes the protection of a vDSO as a whole. Its section headers are its end. */
static void protect(Elf64_Ehdr *image, int protection)
{
	size_t length = image->e_shoff + (size_t)image->e_shnum * sizeof(Elf64_Shdr);

	if (mprotect(image, length, protection) != 0)
		fail("ahead.so: cannot change the vDSO");
}

static Elf64_Sym *find_clock(char *image)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
	const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + head->e_shoff);

	for (int at = 0; at < head->e_shnum; at++) {
		if (sections[at].sh_type != SHT_DYNSYM)
			continue;
		Elf64_Sym *symbols = (Elf64_Sym *)(image + sections[at].sh_offset);
		const char *names = image + sections[sections[at].sh_link].sh_offset;
		for (size_t index = 0; index < sections[at].sh_size / sizeof(*symbols); index++) {
			const char *name = names + symbols[index].st_name;
			/* On x86, and on arm64. */
			if (strcmp(name, "__vdso_clock_gettime") == 0 ||
			    strcmp(name, "__kernel_clock_gettime") == 0)
				return &symbols[index];
		}
	}
	errno = ENOENT;
	fail("ahead.so: the vDSO has no clock_gettime");
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	char *image = (char *)getauxval(AT_SYSINFO_EHDR);

	if (image == NULL)
		return;
	Elf64_Sym *symbol = find_clock(image);
	vdso_clock = (clock_function)(image + symbol->st_value);
	protect((Elf64_Ehdr *)image, PROT_READ | PROT_WRITE | PROT_EXEC);
	symbol->st_value = (uintptr_t)clock_ahead - (uintptr_t)image;
	protect((Elf64_Ehdr *)image, PROT_READ | PROT_EXEC);
}

static long libc_result(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	return (int)libc_result(clock_ahead(clock, now));
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec precise;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &precise);
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec precise;

	clock_gettime(CLOCK_REALTIME_COARSE, &precise);
	if (now != NULL)
		*now = precise.tv_sec;
	return precise.tv_sec;
}

/*
 * The kernel gives files its own time. Node.js reads it by this function. The collector compares it
 * with the clock.
 */
long syscall(long number, ...)
{
	long words[6];
	va_list list;

	va_start(list, number);
	for (int at = 0; at < 6; at++)
		words[at] = va_arg(list, long);
	va_end(list);
	long result = system_call(number, words);
	if (result == 0 && number == SYS_statx) {
		struct statx *file = (struct statx *)words[4];
		file->stx_atime.tv_sec += AHEAD_SECONDS;
		file->stx_btime.tv_sec += AHEAD_SECONDS;
		file->stx_ctime.tv_sec += AHEAD_SECONDS;
		file->stx_mtime.tv_sec += AHEAD_SECONDS;
	}
	return libc_result(result);
}

/* Files keep the kernel's time: a build output of this run must not look new for years. */
static long set_times(int directory, const char *path, const struct timespec times[2], int flags)
{
	struct timespec moved[2];

	for (int at = 0; times != NULL && at < 2; at++) {
		moved[at] = times[at];
		if (moved[at].tv_sec >= LEAST_WALL_SECONDS)
			moved[at].tv_sec -= AHEAD_SECONDS;
	}
	long words[6] = { directory, (long)path, times == NULL ? 0 : (long)moved, flags };
	return libc_result(system_call(SYS_utimensat, words));
}

int utimensat(int directory, const char *path, const struct timespec times[2], int flags)
{
	return (int)set_times(directory, path, times, flags);
}

int futimens(int file, const struct timespec times[2])
{
	return (int)set_times(file, NULL, times, 0);
}
