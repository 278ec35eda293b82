//go:build linux && (amd64 || arm64)

#include "handler.h"

volatile uint64_t rawfork_probe_handled[65];

void rawfork_probe_count(int sig)
{
	if (sig > 0 && sig < 65)
		rawfork_probe_handled[sig]++;
}

/* Assembly, since rt_sigreturn finds its frame right at the stack pointer: the
 * function must not have pushed anything. */
#if defined(__x86_64__)
__asm__(".text\n"
	".globl rawfork_probe_restorer\n"
	".hidden rawfork_probe_restorer\n"
	".type rawfork_probe_restorer, @function\n"
	"rawfork_probe_restorer:\n"
	"	movq $15, %rax\n"
	"	syscall\n"
	".size rawfork_probe_restorer, .-rawfork_probe_restorer\n");
#else
/* The vDSO returns from handlers; SA_RESTORER is not set. */
void rawfork_probe_restorer(void)
{
}
#endif
