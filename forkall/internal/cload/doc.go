// Package cload keeps C code of this process busy, for tests that fork meanwhile:
// _test.go files can't use cgo.
package cload
