/*
 * plan.h - what the child of a fork does on its way to execve(2), as flat bytes.
 *
 * Go compiles a plan from a syscall.ProcAttr (plan.go); the executor here runs
 * it, in the child of fork, of vfork or of the helper process. Nothing in this
 * file needs Go or the Go runtime, and the executor neither allocates nor locks:
 * it makes raw system calls only.
 *
 * A plan is one header, then these sections, one right after the other:
 *
 *	int32_t  fds[nfds]	the descriptors that the plan speaks of, numbered
 *				as in the process that runs it. Whoever receives a
 *				plan and its descriptors by a socket puts its own
 *				numbers here, before the check.
 *	int32_t  files[nfiles]	descriptor i of the new program: an index into
 *				fds, or -1 for closed
 *	uint32_t groups[ngroups]
 *	uint32_t caps[ncaps]	ambient capabilities
 *	(4 bytes, if needed to get to a multiple of 8)
 *	uint64_t vectors[argc + 1 + envc + 1]	room for argv and envp
 *	char     strings[]	RAWFORK_STRINGS + argc + envc strings, each with its
 *				NUL: path, dir, chroot, uid_map, gid_map, then argv,
 *				then the environment
 *
 * The sections' places follow from the counts, and the strings' places from the
 * strings, so a plan has no offset that could point out of it.
 */
#ifndef RAWFORK_PLAN_H
#define RAWFORK_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define RAWFORK_PLAN_MAGIC 0x316e6c70 /* "pln1" */

/* The strings ahead of argv. An empty dir or chroot means: leave it. */
#define RAWFORK_STRINGS 5

enum rawfork_flag {
	RAWFORK_SETSID = 1 << 0,
	RAWFORK_SETPGID = 1 << 1,
	RAWFORK_FOREGROUND = 1 << 2,
	RAWFORK_SETCTTY = 1 << 3,
	RAWFORK_NOCTTY = 1 << 4,
	RAWFORK_PTRACE = 1 << 5,
	RAWFORK_CREDENTIAL = 1 << 6,	 /* uid and gid */
	RAWFORK_SETGROUPS = 1 << 7,	 /* groups, also when there are none */
	RAWFORK_UID_MAP = 1 << 8,
	RAWFORK_GID_MAP = 1 << 9,
	RAWFORK_ALLOW_SETGROUPS = 1 << 10, /* what to write to /proc/PID/setgroups */
	RAWFORK_CGROUP = 1 << 11,
	RAWFORK_PIDFD = 1 << 12,
	RAWFORK_NOFILE = 1 << 13,	 /* nofile_cur and nofile_max */
	RAWFORK_ALL_FLAGS = (1 << 14) - 1,
};

struct rawfork_plan {
	uint32_t magic;
	uint32_t flags;
	uint64_t size; /* of the whole plan in bytes */
	uint32_t nfds, nfiles, ngroups, ncaps, argc, envc;
	int32_t pgid;
	int32_t ctty;	/* FOREGROUND: an index into fds; SETCTTY: the new program's number */
	int32_t cgroup; /* an index into fds */
	int32_t pdeathsig;
	int32_t ppid; /* the parent whose death pdeathsig tells */
	uint32_t uid, gid;
	uint32_t zero;
	uint64_t cloneflags, unshareflags;
	uint64_t nofile_cur, nofile_max; /* RLIMIT_NOFILE before Go raised it */
};

/* The clone flags that a plan may have: the namespaces, and what stays within
 * the child. CLONE_FILES, CLONE_PARENT and CLONE_THREAD would have the executor
 * close the parent's descriptors, or give the parent a child it can't reap. */
#define RAWFORK_CLONEFLAGS                                                              \
	(0x00000200ull /* FS */ | 0x00002000ull /* PTRACE */ | 0x00020000ull /* NEWNS */ \
	 | 0x00040000ull /* SYSVSEM */ | 0x00800000ull /* UNTRACED */                    \
	 | 0x02000000ull /* NEWCGROUP */ | 0x04000000ull /* NEWUTS */                    \
	 | 0x08000000ull /* NEWIPC */ | 0x10000000ull /* NEWUSER */                      \
	 | 0x20000000ull /* NEWPID */ | 0x40000000ull /* NEWNET */                       \
	 | 0x80000000ull /* IO */ | 0x00000080ull /* NEWTIME */)
#define RAWFORK_CLONE_NEWUSER 0x10000000ull

/* A plan that was checked and linked: the same bytes, by their addresses. */
struct rawfork_image {
	const struct rawfork_plan *plan;
	int32_t *fds;
	int32_t *files; /* once numbered: descriptors, no longer indices */
	const uint32_t *groups;
	const uint32_t *caps;
	const char *path, *dir, *chroot, *uid_map, *gid_map;
	char **argv, **envp;
};

/*
 * rawfork_plan_check tells whether the size bytes at plan are a plan: 0, or
 * -EINVAL. It reads no byte outside of them. plan must be on a multiple of 8.
 * vectors may hold anything.
 */
int rawfork_plan_check(const void *plan, size_t size);

/*
 * rawfork_plan_link makes a checked plan ready to be run, in place: it fills the
 * vectors. It can be done once to a plan, and the plan must not move afterwards.
 */
void rawfork_plan_link(void *plan, struct rawfork_image *image);

/*
 * rawfork_plan_number turns the files of a linked plan into descriptors, when fds has
 * what the process that runs it calls them. It can be done once to a plan.
 */
void rawfork_plan_number(struct rawfork_image *image);

/* The steps that can fail, and what an error calls them. */
#define RAWFORK_STEP_NAMES(X)                                                        \
	X(PLAN, "plan") X(PIPE, "pipe2") X(FORK, "fork") X(CLONE, "clone")           \
	X(SPAWN, "posix_spawn") X(RECEIVE, "recvmsg") X(TELL, "sendmsg")              \
	X(INHERIT_DIR, "fchdir")                                                     \
	X(INHERIT_LIMITS, "prlimit") X(INHERIT_PGID, "setpgid") X(KEEPCAPS, "prctl(PR_SET_KEEPCAPS)")                \
	X(SYNC, "wait for the id maps") X(SETSID, "setsid") X(SETPGID, "setpgid")    \
	X(TCSETPGRP, "ioctl(TIOCSPGRP)") X(UNSHARE, "unshare")                       \
	X(SETGROUPS_FILE, "write setgroups") X(UID_MAP, "write uid_map")             \
	X(GID_MAP, "write gid_map") X(PRIVATE, "mount(MS_PRIVATE)")                  \
	X(CHROOT, "chroot") X(SETGROUPS, "setgroups") X(SETGID, "setgid")            \
	X(SETUID, "setuid") X(CAPGET, "capget") X(CAPSET, "capset")                  \
	X(AMBIENT, "prctl(PR_CAP_AMBIENT)") X(CHDIR, "chdir")                        \
	X(PDEATHSIG, "prctl(PR_SET_PDEATHSIG)") X(FILES, "dup3")                     \
	X(NOCTTY, "ioctl(TIOCNOTTY)") X(SETCTTY, "ioctl(TIOCSCTTY)")                 \
	X(PTRACE, "ptrace(PTRACE_TRACEME)") X(EXECVE, "execve")

enum rawfork_step {
	RAWFORK_NO_STEP,
#define RAWFORK_STEP(name, text) RAWFORK_STEP_##name,
	RAWFORK_STEP_NAMES(RAWFORK_STEP)
#undef RAWFORK_STEP
	RAWFORK_STEPS
};

/* rawfork_step_name returns what an error calls a step; "" for an unknown one. */
const char *rawfork_step_name(int step);

/* What went wrong. It is smaller than PIPE_BUF, so a write of it is atomic. */
struct rawfork_failure {
	int32_t step;
	int32_t error; /* errno */
};

/* Descriptors from this number on are left to execve to close: to ask for each
 * whether it is close-on-exec would take longer than the rest of a start. */
#define RAWFORK_CLOSED_EARLY 256

/* What rawfork_execute must know of the child that it runs in. */
struct rawfork_way {
	uint64_t mask;   /* the new program's */
	int reset;       /* set handlers to the default actions: they aren't yet */
	int close_early; /* have what is close-on-exec closed when execve succeeds */
	/* RLIMIT_NOFILE to put the descriptors in place under, soft and hard, or NULL: a
	 * caller with more of them open than the new program may have moves its own first. */
	const uint64_t *nofile;
};

/*
 * rawfork_execute numbers and runs a linked plan and doesn't return, unless a step fails: it
 * returns that step and its errno, and the caller must report them and _exit.
 *
 * It must run in a child: one of fork, or one of vfork on a stack of its own.
 * All signals must be blocked. report is the descriptor that the caller will report
 * by, or -1: it is moved out of the way of the plan's descriptors, and is
 * close-on-exec.
 */
struct rawfork_failure rawfork_execute(struct rawfork_image *image, const struct rawfork_way *way, int *report);

/*
 * rawfork_write_maps writes a plan's setgroups, uid_map and gid_map files: of
 * the process pid, or of the caller when pid is 0. It allocates nothing.
 */
struct rawfork_failure rawfork_write_maps(const struct rawfork_image *image, int pid);

#endif
