#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int gatepost_die_with_parent(int signal) {
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signal);
}

int gatepost_signal_of_parent_death(void) {
    int signal = 0;
    return prctl(PR_GET_PDEATHSIG, &signal) == 0 ? signal : 0;
}

int gatepost_set_dumpable(int is_dumpable) {
    return prctl(PR_SET_DUMPABLE, (unsigned long)is_dumpable);
}

int gatepost_close_on_exec(unsigned first) {
    return (int)syscall(SYS_close_range, first, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
}

int gatepost_close_from(void *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int gatepost_processors(void) {
    unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
    long octets = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    if (octets < 0) return -1;
    int count = 0;
    for (unsigned long i = 0; i < (unsigned long)octets / sizeof(mask[0]); i++) {
        count += __builtin_popcountl(mask[i]);
    }
    return count;
}

int gatepost_pidfd(int process) { return (int)syscall(SYS_pidfd_open, process, 0U); }

int gatepost_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }

int gatepost_signal_descriptor(const void *mask) {
    return signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

int gatepost_next_signal(int descriptor) {
    struct signalfd_siginfo information;
    ssize_t octets = read(descriptor, &information, sizeof(information));
    return octets == sizeof(information) ? (int)information.ssi_signo : 0;
}

// What each signal did before `gatepost_close_on_crash`; by signal number.
static struct sigaction before_crash[65];

// Closes every descriptor but the standard ones, then lets the signal do what it did before.
// Only async-signal-safe calls: the process is broken when this runs.
static void crashed(int signal) {
    syscall(SYS_close_range, 3U, ~0U, 0U);
    sigaction(signal, &before_crash[signal], 0);
    raise(signal);
}

void gatepost_close_on_crash(int signal, int keeps_handler) {
    struct sigaction action = {0};
    if (signal < 1 || signal > 64) { return; }
    action.sa_handler = crashed;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, &before_crash[signal]) != 0 || keeps_handler) { return; }
    before_crash[signal] = (struct sigaction){0};
}
