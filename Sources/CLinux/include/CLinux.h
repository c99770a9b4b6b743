// What Linux offers and Swift's Glibc module leaves out: signalfd, prctl, close_range, pidfd_open, sched_getaffinity and the end of a list of
// descriptors for posix_spawn.
//
// It includes no header of the C library: its types would be those of this module, and Swift files that
// import Glibc alone would not see their members.
#pragma once

/// Has the kernel send `signal` to this process when its parent dies; survives execve.
int gatepost_die_with_parent(int signal);

/// The signal of `gatepost_die_with_parent`; 0 if there is none.
int gatepost_signal_of_parent_death(void);

/// Whether the kernel may write this process's memory to a core file, and a debugger of the same user
/// may read it; 0 is no.
int gatepost_set_dumpable(int is_dumpable);

/// Marks every descriptor from `first` on close-on-exec, so that no program that this process starts
/// keeps one of them open.
int gatepost_close_on_exec(unsigned first);

/// Has a program that is started with `actions`, a `posix_spawn_file_actions_t`, get no descriptor from
/// `first` on.
int gatepost_close_from(void *actions, int first);

/// How many processors this process may use; -1 and errno if the kernel does not say.
int gatepost_processors(void);

/// A descriptor that can be read when the child `process` has ended; -1 and errno if there is none.
int gatepost_pidfd(int process);

/// Makes a pipe and puts its ends for reading and for writing into `ends`, of which there are two; no program that any
/// thread starts meanwhile gets them. -1 and errno if there is none.
int gatepost_pipe(int *ends);

/// A descriptor that can be read when a signal of `mask`, a `sigset_t`, has come; -1 and errno if there is
/// none. Its reads do not wait, and no program that is started gets it.
int gatepost_signal_descriptor(const void *mask);

/// Takes the next signal from `descriptor` of `gatepost_signal_descriptor`; 0 if none has come.
int gatepost_next_signal(int descriptor);

/// Has `signal` close all descriptors before it ends this process. Then it ends it at once, or, if
/// `keeps_handler`, runs the handler that was there, such as that of Swift's backtraces.
void gatepost_close_on_crash(int signal, int keeps_handler);
