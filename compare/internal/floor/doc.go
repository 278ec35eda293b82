// Package floor makes processes in plain C, within one C function: what every
// method of Go is measured against.
package floor
