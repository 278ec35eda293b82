/* block.h - a C call that blocks for as long as its caller wants. */
#ifndef LOAD_BLOCK_H
#define LOAD_BLOCK_H

/* load_block reads from fd until its end, which the caller brings about. */
void load_block(int fd);

#endif
