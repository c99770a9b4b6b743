// What Linux offers and Swift's Glibc module leaves out: signalfd, and prctl, which is variadic.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

/// Has the kernel send `signal` to this process when its parent dies; survives execve.
static inline int gatepost_die_with_parent(int signal) {
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signal);
}
