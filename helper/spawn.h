/*
 * spawn.h - the helper's children.
 */
#ifndef RAWFORK_HELPER_SPAWN_H
#define RAWFORK_HELPER_SPAWN_H

#include "wire.h"

#include <sys/types.h>

/* A child that waits for its task, on the helper's side. */
struct rf_waiting {
	pid_t pid;
	int   sock;
	int   booted;
};

/*
 * rf_spawn_go forks a child for the task in m, a child of the helper's parent.
 * Returns its pid, or -errno; and 0 in the child, which keeps m. The child waits
 * until *go is written to: when the helper dies before it has told the parent of
 * the child, nobody knows that there is one, and it must end.
 */
pid_t rf_spawn_go(struct rf_message *m, int *go);

/* rf_spawn_release lets a child of rf_spawn_go go on. */
void rf_spawn_release(int go);

/*
 * rf_spawn_ready forks a child that waits for its task. Returns 0 with *w filled
 * in, or -errno; and 1 in the child. It ends with its socket.
 */
int rf_spawn_ready(struct rf_waiting *w);

/*
 * rf_spawn_exec starts the program of a checked RF_EXEC, as a child of the helper's
 * parent. The child receives its RF_INHERIT from sock itself, so that the helper never
 * has the descriptors. *born says which child it is before that runs; a pidfd that the
 * plan asks for goes over sock before the child executes. The answer is in *born: when a
 * step failed the child, if there is one, has ended, for the parent to reap.
 */
void rf_spawn_exec(struct rf_message *m, int sock, volatile struct rf_born *born);

/* rf_born_end says that the answer to the request of that id is complete, unless the
 * kernel has said it or the parent knows already. */
void rf_born_end(volatile struct rf_born *born, uint64_t id);

/* rf_spawn_prepare makes the process look and live as the helper, and remembers what a
 * child must put back: name, title, mask, soft limit on descriptors. The pid of each child
 * but that of rf_spawn_exec goes to born->made. Returns 0 or -errno. */
int rf_spawn_prepare(volatile struct rf_born *born);

/* rf_keep_only closes all descriptors above 2 but fds, of which none is below 3. */
void rf_keep_only(const int *fds, uint32_t n);

/*
 * rf_helper_main serves the parent, over either socket what it asks for there; it returns
 * in a child that is to run Go. What isn't asked for is told over sock.
 */
void rf_helper_main(int sock, int starts, int parent_pidfd, volatile struct rf_born *born,
		    uint64_t hello_id, uint32_t ready);

#endif
