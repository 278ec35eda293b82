package child_test

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"rawfork/child"
)

func TestLine(t *testing.T) {
	long := strings.Repeat("0123456789", 20)
	for _, test := range []struct {
		make func(l *child.Line)
		want string
	}{
		{func(l *child.Line) {}, ""},
		{func(l *child.Line) { l.Text("pid ").Int(42).Text("\n") }, "pid 42\n"},
		{func(l *child.Line) { l.Int(0).Text(" ").Int(-1).Text(" ").Int(10) }, "0 -1 10"},
		{func(l *child.Line) { l.Int(math.MaxInt) }, strconv.Itoa(math.MaxInt)},
		{func(l *child.Line) { l.Int(math.MinInt) }, strconv.Itoa(math.MinInt)},
		{func(l *child.Line) { l.Text(long).Int(7) }, long[:120]},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var line child.Line
		test.make(&line)
		n, errno := line.Write(int(write.Fd()))
		again, errnoAgain := line.Write(int(write.Fd()))
		write.Close()
		var got bytes.Buffer
		got.ReadFrom(read)
		read.Close()
		if got.String() != test.want || n != len(test.want) || errno != 0 {
			t.Errorf("wrote %q, n %d, errno %d, want %q", got.String(), n, errno, test.want)
		}
		if again != 0 || errnoAgain != 0 {
			t.Errorf("a written line wrote %d bytes more, errno %d, want none", again, errnoAgain)
		}
	}
}
