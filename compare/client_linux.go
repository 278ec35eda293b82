//go:build cgo && (amd64 || arm64)

package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/program"
)

// patience is how long a measuring process may take for an answer, far above what
// any needs, and patienceForGB how much longer it may take for its setup.
const (
	patience      = 2 * time.Minute
	patienceForGB = 20 * time.Second
)

// Run measures what the options say. The measuring processes are processes of this
// program, so main must begin with [Init]. An error says that the run broke off;
// the report has what was measured until then. When ctx is done the run ends
// without an error, and the report's Stopped says why.
func Run(ctx context.Context, options Options) (*Report, error) {
	if err := options.Check(); err != nil {
		return nil, err
	}
	experiments, err := Find(options.Experiments)
	if err != nil {
		return nil, err
	}
	path, err := program.Write(program.Stamp())
	if err != nil {
		return nil, fmt.Errorf("program to start: %w", err)
	}
	defer os.RemoveAll(filepath.Dir(path))

	r := &runner{options: options, memory: available(), report: &Report{}, open: opener(path), touch: timeToTouch()}
	before := processorTime()
	defer func() {
		r.report.Others = before.others(processorTime())
		r.report.Noise = noise(r.report)
	}()
	if err := r.run(ctx, experiments); err != nil {
		return r.report, fmt.Errorf("compare: %w", err)
	}
	if methods := options.described(); methods != nil && ctx.Err() == nil {
		r.progress(SemanticsName, r.done)
		sides, err := describe(ctx, path, methods)
		switch {
		case ctx.Err() != nil:
			r.report.Stopped = context.Cause(ctx).Error()
		case err != nil:
			return r.report, fmt.Errorf("compare: %s: %w", SemanticsName, err)
		default:
			r.report.Semantics = sides
		}
		r.progress(SemanticsName, r.total)
	}
	return r.report, nil
}

// timeToTouch is about how long the first touch of a GB takes: on a virtual machine
// whose memory its host has yet to find, ten times as long as on another.
func timeToTouch() time.Duration {
	const some = 32 * mB
	memory, err := unix.Mmap(-1, 0, some, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0
	}
	defer unix.Munmap(memory)
	unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
	start := time.Now()
	for i := 0; i < some; i += os.Getpagesize() {
		memory[i] = 1
	}
	return time.Since(start) * (gB / some)
}

// describe has a process of its own make what is described.
func describe(ctx context.Context, path string, methods []string) (*Semantics, error) {
	c, err := start(ctx, setup{Program: path, Heap: 16 * mB, Helper: true})
	if err != nil {
		return nil, err
	}
	defer c.close()
	a, err := c.ask(request{Describe: methods}, patience)
	if err != nil {
		return nil, err
	}
	return semantics(a.Sides), nil
}

// opener starts measuring processes that execute the program at path.
func opener(path string) func(context.Context, setup) (bench, error) {
	return func(ctx context.Context, need setup) (bench, error) {
		need.Program = path
		c, err := start(ctx, need)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// client is the runner's end of a measuring process.
type client struct {
	cmd      *exec.Cmd
	requests *json.Encoder
	answers  *json.Decoder
	in       io.Closer
	stderr   bytes.Buffer
}

// start starts a measuring process and waits until it is set up.
func start(ctx context.Context, need setup) (*client, error) {
	c := &client{cmd: exec.CommandContext(ctx, "/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), environment+"="+playMeasure)
	c.cmd.Stderr = &c.stderr
	// Ctrl-C is for the runner, which ends its processes itself.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.requests, c.answers = in, json.NewEncoder(in), json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("measuring process: %w", err)
	}
	if _, err := c.ask(need, patience+patienceForGB*time.Duration(need.Heap/gB)); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// ask sends a request and waits for the answer. A process that doesn't answer in
// time is killed.
func (c *client) ask(request any, patience time.Duration) (answer, error) {
	watch := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer watch.Stop()
	var a answer
	err := c.requests.Encode(request)
	if err == nil {
		err = c.answers.Decode(&a)
	}
	switch {
	case err != nil:
		c.close()
		said := strings.TrimSpace(c.stderr.String())
		if len(said) > 300 {
			said = said[:300] + "..."
		}
		return answer{}, fmt.Errorf("measuring process: %v: %w: %s", c.cmd.ProcessState, err, said)
	case a.Lack:
		return answer{}, &lackError{a.Error}
	case a.Error != "":
		return answer{}, errors.New(a.Error)
	}
	return a, nil
}

func (c *client) turn(_ context.Context, do turn) (map[string]float64, error) {
	a, err := c.ask(request{Turn: &do}, patience)
	return a.Measured, err
}

// close ends the process and reaps it. A second close does nothing.
func (c *client) close() {
	c.in.Close()
	if c.cmd.ProcessState == nil {
		c.cmd.Wait()
	}
}
