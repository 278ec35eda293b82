//go:build !race

package rules

// raceEnabled says that this program was built with -race.
const raceEnabled = false
