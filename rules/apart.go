package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// orderEnv holds the order of a process that [Show] or [Matrix] has started.
const orderEnv = "RAWFORK_SHOW"

// An order says what such a process is to do: to show a caveat, or to run the matrix.
type order struct {
	Caveat string // "" for the matrix
	Tries  int
	Plan   Plan
}

// An answer is one line of what it answers. The last one says that it is.
type answer struct {
	Showing     *Showing `json:",omitempty"`
	Cell        *Cell    `json:",omitempty"`
	Last        bool     `json:",omitempty"`
	Err         string   `json:",omitempty"` // of the last
	Unsupported bool     `json:",omitempty"` // the error is errors.ErrUnsupported
}

// answerFd is where the process writes its answers. Its standard input ends when nobody
// waits for them any more.
const answerFd = 3

// initialized says that Init has been called: a program that hasn't would be started
// over and over.
var initialized bool

// Init makes this process show a caveat, and never return, if it is one that [Show] or
// [Matrix] has started. Otherwise it does nothing.
//
// Precondition: it is called first in main, or in TestMain.
func Init() {
	initialized = true
	text, ok := os.LookupEnv(orderEnv)
	if !ok {
		return
	}
	os.Unsetenv(orderEnv)
	out := json.NewEncoder(os.NewFile(answerFd, "answers"))
	last := answer{Last: true}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.obey(out.Encode)
	}
	if err != nil {
		last.Err, last.Unsupported = err.Error(), errors.Is(err, errors.ErrUnsupported)
	}
	out.Encode(last)
	awaitEnd() // so that the parent needn't tell a process that ends from one that died
	os.Exit(0)
}

// obey does what the order says, until nobody waits for it.
func (o order) obey(say func(any) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		awaitEnd()
		cancel()
	}()
	defer atEnd.do()
	if err := adoptOrphans(); err != nil {
		return err
	}
	if o.Caveat == "" {
		return matrixHere(ctx, o.Plan, func(c Cell) { say(answer{Cell: &c}) })
	}
	list := Caveats()
	i := slices.IndexFunc(list, func(c Caveat) bool { return c.ID == o.Caveat })
	if i < 0 {
		return fmt.Errorf("no such caveat")
	}
	showing, err := showHere(ctx, list[i], o.Tries)
	if err == nil {
		err = say(answer{Showing: &showing})
	}
	return err
}

// atEnd is what is done at the end of the process: it removes what was built.
var atEnd cleanups

type cleanups struct{ list []func() }

func (c *cleanups) add(f func()) { c.list = append(c.list, f) }

func (c *cleanups) do() {
	for _, f := range c.list {
		f()
	}
}

// How long the process may take to end when it is told to, before it is killed.
const endLimit = time.Minute

// apart has a process of its own obey the order, as the caveat needs it, and tells of
// its answers but the last.
func apart(ctx context.Context, c Caveat, o order, tell func(answer)) error {
	if len(Caveats()) == 0 {
		return errors.ErrUnsupported
	}
	if !initialized {
		return errors.New("the program has not called rules.Init")
	}
	path, remove, err := programFor(ctx, c.Build)
	if err != nil {
		return err
	}
	defer remove()
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), c.env...), orderEnv+"="+string(text))
	setApart(cmd)
	said, err := os.CreateTemp("", "rawfork-stderr")
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd.Stderr = said // a file, since others may have it longer than the process lives
	answers, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answers.Close()
	cmd.ExtraFiles = []*os.File{w}
	life, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		return err
	}
	end := sync.OnceFunc(func() { life.Close() })
	stop := context.AfterFunc(ctx, func() {
		end()
		time.AfterFunc(endLimit, func() { cmd.Process.Kill() }) // an error if it has been waited for
	})
	defer stop()
	died := make(chan error, 1)
	go func() {
		died <- cmd.Wait()
		answers.SetReadDeadline(time.Unix(1, 0)) // it ends before it is told to only if it dies
	}()
	last, err := hear(answers, tell)
	end()
	waitErr := <-died
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("its process: %w: %s", errors.Join(waitErr, err), beginning(said))
	case last.Unsupported:
		return fmt.Errorf("%s: %w", strings.TrimSuffix(last.Err, ": "+errors.ErrUnsupported.Error()), errors.ErrUnsupported)
	case last.Err != "":
		return errors.New(last.Err)
	}
	return waitErr
}

// hear tells of the answers up to the last, which it returns.
func hear(answers io.Reader, tell func(answer)) (answer, error) {
	for in := json.NewDecoder(answers); ; {
		var a answer
		if err := in.Decode(&a); err != nil || a.Last {
			return a, err
		}
		tell(a)
	}
}

// beginning is what a process that died has said first.
func beginning(said io.ReaderAt) string {
	b := make([]byte, 1000)
	n, _ := said.ReadAt(b, 0)
	return string(b[:n])
}

// showProgram is the program that is built for a caveat that needs a build of its own.
const showProgram = "rawfork/rules/internal/show"

// programFor returns this program, or one that is built with the flags, and what
// removes it. A program of a test, or of another module, may lack the source.
func programFor(ctx context.Context, flags []string) (path string, remove func(), err error) {
	if len(missing(flags)) == 0 {
		return "/proc/self/exe", func() {}, nil
	}
	return goBuild(ctx, showProgram, flags...)
}

// missing are the flags that this program hasn't been built with.
func missing(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return flag == "-race" && raceEnabled })
}

// goBuild builds a program of this module, in a directory that remove removes. Without
// the go command and the module's source it is unsupported.
func goBuild(ctx context.Context, name string, flags ...string) (path string, remove func(), err error) {
	_, file, _, _ := runtime.Caller(0)
	source := strings.TrimSuffix(file, "/apart.go")
	if _, err := os.Stat(file); err != nil {
		return "", nil, fmt.Errorf("go build %s: the source is not at %s: %w", name, source, errors.ErrUnsupported)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", nil, fmt.Errorf("go build %s: there is no go command: %w", name, errors.ErrUnsupported)
	}
	dir, err := os.MkdirTemp("", "rawfork-rules")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = dir + "/program"
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", path}, flags...), name)...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("go build %s: %w: %s", name, err, out)
	}
	return path, remove, nil
}
