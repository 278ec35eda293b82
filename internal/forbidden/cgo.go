//go:build unix && cgo

package forbidden

// #include <unistd.h>
import "C"

func init() {
	guarded = append(guarded, Action{"call C by cgo", "_Cfunc_", callC, false})
}

//go:nosplit
//go:norace
func callC() { C.getpid() }
