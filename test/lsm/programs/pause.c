// Waits for ever, as the first process of a sandbox does.
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
