/*
 * size.h - has a C server be as large as another one, so that its forks cost what
 * that one's do for their size.
 */
#ifndef RAWFORK_PEERS_SIZE_H
#define RAWFORK_PEERS_SIZE_H

/*
 * size takes the options -maps N, -pages N, -tables N and -writes N, each of them 0
 * without one. It makes so many mappings, with so many pages in all that are written
 * to, in areas of so many tables of pages, which the kernel copies for a fork. Ends the
 * program if it can't.
 */
void size(int argc, char **argv);

/* touch writes to -writes of the pages, as a runtime does after a fork. */
void touch(void);

#endif
