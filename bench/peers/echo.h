/*
 * echo.h - the echo server in C.
 */
#ifndef RAWFORK_PEERS_ECHO_H
#define RAWFORK_PEERS_ECHO_H

/*
 * echo serves the connections of a blocking listener, each by a child of fork(3),
 * or with bare set and where libc has it, of _Fork(3). Returns only if accept
 * fails, with its errno.
 */
int echo(int listener, int bare);

#endif
