package main

import (
	"encoding/json"
	"io"
)

// writeJSON writes v as JSON for programs that a person can read too.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return unwritten(encoder.Encode(v))
}
