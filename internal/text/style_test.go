package text

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		width        int
		text, indent string
		want         []string
	}{
		{0, "a  b\nc", "  ", []string{"  a b c"}},
		{20, "one two three four five", "", []string{"one two three four", "five"}},
		{20, "one two three four five", "    ", []string{"    one two three", "    four five"}},
		{20, "a-word-longer-than-the-line b", "", []string{"a-word-longer-than-the-line", "b"}},
		{3, "one two three four", "  ", []string{"  one two three", "  four"}}, // no room: the minimum
		{20, "", "  ", []string{"  "}},
		{20, "äöü äöü äöü äöü äöü äöü", "", []string{"äöü äöü äöü äöü äöü", "äöü"}},
	} {
		if diff := cmp.Diff(test.want, Style{Width: test.width}.Wrap(test.text, test.indent)); diff != "" {
			t.Errorf("Wrap(%q, %q) at %d (-want +got):\n%s", test.text, test.indent, test.width, diff)
		}
	}
}

func TestHang(t *testing.T) {
	for _, test := range []struct {
		width        int
		line, indent string
		want         []string
	}{
		{0, "  PID   TTY  ", " ", []string{"   PID   TTY"}},
		{12, "  PID   TTY", " ", []string{"   PID   TTY"}},
		{24, "  4711 pts/0    Z+ [server] <defunct>", "", []string{"  4711 pts/0 Z+ [server]", "    <defunct>"}},
	} {
		if diff := cmp.Diff(test.want, Style{Width: test.width}.Hang(test.line, test.indent)); diff != "" {
			t.Errorf("Hang(%q, %q) at %d (-want +got):\n%s", test.line, test.indent, test.width, diff)
		}
	}
}

func TestColour(t *testing.T) {
	if got, want := (Style{Colour: true}).Good("ok"), "\x1b[32mok\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Style{}).Bad("no"); got != "no" {
		t.Errorf("without colours: %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		width      int
		line, want string
	}{
		{0, "  PID TTY      COMMAND", "|   PID TTY      COMMAND"},
		{40, "  PID TTY      COMMAND", "|   PID TTY      COMMAND"},
		{20, "  PID TTY      COMMAND", "|   PID TTY      COM"},
		{4, "  PID TTY      COMMAND", "|   PID TTY      C"}, // no less than the minimum
	} {
		if got := (Style{Width: test.width}).Cut(test.line, "| "); got != test.want {
			t.Errorf("width %d: %q, want %q", test.width, got, test.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		`plain "text" \ äö →`:    `plain "text" \ äö →`,
		"\x1b[2J\a\r\n\t\x7f":    `\x1b[2J\a\r\n\t\x7f`,
		"\u009b1m\u202e\xff\xfe": `\u009b1m\u202e\xff\xfe`,
		"\ufffd":                 "\ufffd",
	} {
		if diff := cmp.Diff(want, Printable(text)); diff != "" {
			t.Errorf("Printable(%q) (-want +got):\n%s", text, diff)
		}
	}
}
