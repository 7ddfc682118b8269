// A dynamically linked program: loads the given library and prints whether it succeeded.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return puts("dynamic: ok") < 0;
	printf("dlopen %s: %s\n", argv[1], dlopen(argv[1], RTLD_NOW) ? "ok" : "refused");
	return 0;
}
