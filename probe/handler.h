/*
 * handler.h - a signal handler for children that probe drives.
 *
 * A handler can't be Go code: the kernel calls it at any moment, on a stack that
 * it finds in sigaltstack(2), and the child of a fork has no Go runtime to take
 * it. This one only counts, so that it is async-signal-safe.
 */
#ifndef RAWFORK_PROBE_HANDLER_H
#define RAWFORK_PROBE_HANDLER_H

#include <stdint.h>

/* rawfork_probe_handled[sig] is how often the handler ran for sig, 1 to 64. */
extern volatile uint64_t rawfork_probe_handled[65];

/* rawfork_probe_count is the handler. Needs SA_ONSTACK: a goroutine's stack is
 * smaller than a signal frame. */
void rawfork_probe_count(int sig);

/* rawfork_probe_restorer is for sa_restorer, which amd64 asks for: it returns
 * from a handler by rt_sigreturn(2). Never called. */
void rawfork_probe_restorer(void);

#endif
