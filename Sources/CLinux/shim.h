// What Linux offers and Swift's Glibc module leaves out: signalfd, prctl, close_range, pidfd_open, sched_getaffinity and the end of a list of
// descriptors for posix_spawn.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Has the kernel send `signal` to this process when its parent dies; survives execve.
static inline int gatepost_die_with_parent(int signal) {
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signal);
}

/// The signal of `gatepost_die_with_parent`; 0 if there is none.
static inline int gatepost_signal_of_parent_death(void) {
    int signal = 0;
    return prctl(PR_GET_PDEATHSIG, &signal) == 0 ? signal : 0;
}

/// Whether the kernel may write this process's memory to a core file, and a debugger of the same user
/// may read it; 0 is no.
static inline int gatepost_set_dumpable(int is_dumpable) {
    return prctl(PR_SET_DUMPABLE, (unsigned long)is_dumpable);
}

/// Marks every descriptor from `first` on close-on-exec, so that no program that this process starts
/// keeps one of them open.
static inline int gatepost_close_on_exec(unsigned first) {
    return (int)syscall(SYS_close_range, first, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
}

extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

/// Has a program that is started with `actions` get no descriptor from `first` on.
static inline int gatepost_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

/// How many processors this process may use; -1 and errno if the kernel does not say.
static inline int gatepost_processors(void) {
    unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
    long octets = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    if (octets < 0) return -1;
    int count = 0;
    for (unsigned long i = 0; i < (unsigned long)octets / sizeof(mask[0]); i++) {
        count += __builtin_popcountl(mask[i]);
    }
    return count;
}

/// A descriptor that can be read when the child `process` has ended; -1 and errno if there is none.
static inline int gatepost_pidfd(int process) { return (int)syscall(SYS_pidfd_open, process, 0U); }

/// What each signal did before `gatepost_close_on_crash`; by signal number.
///
/// A variable of a function: Swift emits none of a header.
static inline struct sigaction *gatepost_before_crash(void) {
    static struct sigaction actions[65];
    return actions;
}

/// Closes every descriptor but the standard ones, then lets the signal do what it did before.
/// Only async-signal-safe calls: the process is broken when this runs.
static inline void gatepost_crashed(int signal) {
    syscall(SYS_close_range, 3U, ~0U, 0U);
    sigaction(signal, gatepost_before_crash() + signal, 0);
    raise(signal);
}

/// Has `signal` close all descriptors before it ends this process. Then it ends it at once, or, if
/// `keeps_handler`, runs the handler that was there, such as that of Swift's backtraces.
static inline void gatepost_close_on_crash(int signal, int keeps_handler) {
    struct sigaction action = {0};
    if (signal < 1 || signal > 64) { return; }
    action.sa_handler = gatepost_crashed;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, gatepost_before_crash() + signal) != 0 || keeps_handler) { return; }
    gatepost_before_crash()[signal] = (struct sigaction){0};
}
