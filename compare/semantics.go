package compare

// Semantics is what the processes are that the methods make, side by side.
type Semantics struct {
	// Fields are the names of what is shown, in order. Those of the first rows are
	// always there, those after them where a process differs.
	Fields []string `json:"fields"`
	Sides  []Side   `json:"sides"`
}

// A Side is what one method makes. The first side is that of syscall.ForkExec.
type Side struct {
	Method string            `json:"method"`
	Values map[string]string `json:"values"` // by field
	// Differs has the fields that are not as after syscall.ForkExec.
	Differs []string `json:"differs"`
}

// described are the methods of the second page of the report, the reference first.
var described = []string{"syscall", "osexec", "fork", "vfork", "spawn", "helper", "ready", "fork-only"}

// firstFields are shown in any case.
var firstFields = []string{"Parent", "Program", "Descriptors", "Blocked", "Ignored", "Caught", "Threads", "Memory", "Shared with the parent", "Limits[nofile]"}
