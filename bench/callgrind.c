/* Preloaded under valgrind: the main thread of a Swift program waits in sigsuspend with a mask that lies in
 * read-only memory, and valgrind 3.19 writes to the mask it is given. */
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int sigsuspend(const sigset_t *mask)
{
    sigset_t copy = *mask;
    return (int)syscall(SYS_rt_sigsuspend, &copy, 8);
}
