// A library that prints a line when it is loaded.
#include <unistd.h>

__attribute__((constructor)) static void loaded(void)
{
	if (write(1, "library: ok\n", 12) < 0)
		_exit(1);
}
