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
	} {
		all = append(all, list...)
	}
	return all
}
