// Output of a program of operations: `landed`, or `<step>: <errno>` for the failed step, which ends
// the operation.
#ifndef BAILIFF_STEPS_H
#define BAILIFF_STEPS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long must(long result, const char *step)
{
	if (result >= 0) return result;
	printf("%s: %s\n", step, strerrorname_np(errno));
	exit(1);
}

static int landed(void)
{
	puts("landed");
	return 0;
}

#endif
