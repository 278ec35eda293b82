package ps

import "testing"

func TestParse(t *testing.T) {
	const tail = " 10 20 30 34817 20 4194304 0 0 0 0 5900 200 0 0 20 -5 3 0 100 0 0"
	for _, test := range []struct{ comm, want string }{
		{"sh", "sh"}, {"a b", "a b"}, {") S 1 (", ") S 1 ("}, {"", ""}, {"x\ny", "x\ny"},
	} {
		s, err := parse("20 (" + test.comm + ") S" + tail)
		if err != nil {
			t.Errorf("%q: %v", test.comm, err)
			continue
		}
		want := stat{20, test.want, 'S', 10, 20, 30, 34817, 20, 5900, 200, -5, 3}
		if s != want {
			t.Errorf("%q: got %+v, want %+v", test.comm, s, want)
		}
		if got := s.terminal() + " " + s.flags() + " " + s.time(); got != "pts/1 S<l+ 1:01" {
			t.Errorf("%q: columns %q", test.comm, got)
		}
	}
	for _, text := range []string{"", "20", "20 (sh", ")20(", "20 (sh) S 1", "x (sh) S" + tail, "20 (sh) S x" + tail} {
		if s, err := parse(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, s)
		}
	}
}

func TestTerminal(t *testing.T) {
	for nr, want := range map[int]string{
		0: "?", 136<<8 | 7: "pts/7", 137<<8 | 1: "pts/257", 4<<8 | 1: "tty1", 4<<8 | 65: "ttyS1", 5<<8 | 1: "5:1",
	} {
		if got := (stat{terminalNr: nr}).terminal(); got != want {
			t.Errorf("terminal %#x: got %q, want %q", nr, got, want)
		}
	}
}
