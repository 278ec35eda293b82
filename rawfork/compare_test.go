package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "512MB": 512 << 20, "4g": 4 << 30, "4GB": 4 << 30, "16kb": 16 << 10, "1T": 1 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "x", "4x", "GB", "4 GB", "1bk", "9223372036854775807", "8388608T", "1.5g"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}
