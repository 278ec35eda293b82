package rules

// BuiltFor tells whether this program can show the caveat, without another build.
func BuiltFor(c Caveat) bool { return len(missing(c.Build)) == 0 }
