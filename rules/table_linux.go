//go:build cgo && (amd64 || arm64)

package rules

func rules() []Rule {
	var all []Rule
	for _, list := range [][]Rule{
		group("A new process", processRules...),
		group("Memory", memoryRules...),
		group("Descriptors", descriptorRules...),
		group("Locks", lockRules...),
		group("Signals", signalRules...),
		group("Wait", waitRules...),
		group("Clocks, timers and accounting", timerRules...),
		group("Semaphores, queues and asynchronous I/O", ipcRules...),
		group("Scheduling and resources", schedRules...),
		group("Credentials and restrictions", securityRules...),
		group("Sessions and terminals", sessionRules...),
		group("Namespaces", namespaceRules...),
		group("clone and vfork beside fork", cloneRules...),
		group("Errors and limits", errorRules...),
		group("C programs", posixRules...),
	} {
		all = append(all, list...)
	}
	return all
}
