// Package guardpage makes memory for tests of C code: a read beyond it is a crash.
package guardpage
