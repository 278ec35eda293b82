package watchdog

// Deadlocked is deadlocked, for the tests.
var Deadlocked = deadlocked
