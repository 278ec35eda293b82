//go:build !(linux && cgo && (amd64 || arm64))

package reap_test

var helpers map[string]func()
