/*
 * title.h - how the helper looks in ps(1).
 */
#ifndef RAWFORK_HELPER_TITLE_H
#define RAWFORK_HELPER_TITLE_H

/* rf_title_set sets the process's name and overwrites its arguments. */
void rf_title_set(const char *title);

/* rf_title_restore puts both back as they were, byte for byte: a child that runs
 * Go finds its arguments there. */
void rf_title_restore(void);

#endif
