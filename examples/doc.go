// Package examples tests the programs in its folders, and is nothing besides.
package examples
