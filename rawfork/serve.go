package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/serve"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, mode, method, dir string
	max                       int
	timeout, grace            time.Duration
	refuse, verbose           bool
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve -l ADDR [--mode MODE] [-- CMD [ARG...]]",
		Short: "Run a server that forks",
		Long: `serve listens on ADDR and serves each client in a child of its own, so that a
crash or a slow client harms no other. ADDR is HOST:PORT, unix:PATH, or systemd
for the socket that systemd passes.

  fork   a forked child echoes what it reads: the default
  exec   a program, as inetd starts it: the default when CMD is given; the
         client is its standard input and output, and REMOTE_ADDR and
         REMOTE_PORT say who it is. By --method spawn it outlives a server that
         is killed
  go     files of --dir by HTTP, from children that are Go programs, booted
         ahead
  pool   --max children, forked ahead, echo

It says "listening on ADDR" when it is ready. SIGTERM and Ctrl-C let the clients
finish, for --grace, and then end the children; a second one ends them at once.
SIGHUP replaces the children of a pool, and loses no connection; when no new
ones can be had, the old ones stay. The last line says what was served.`,
		Example: `  rawfork serve -l 127.0.0.1:7777
  rawfork serve -l 127.0.0.1:7777 -- wc -c
  rawfork serve -l unix:/tmp/echo --mode pool --max 4
  rawfork serve -l 127.0.0.1:8080 --mode go --dir /usr/share/doc`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			return f.run(args)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.listen, "listen", "l", "", "the `address` to listen on; port 0 takes a free one")
	flags.StringVar(&f.mode, "mode", "", "fork, exec, go or pool")
	flags.IntVar(&f.max, "max", 0, "at most `N` children (100; of a pool just as many, 4)")
	flags.DurationVar(&f.timeout, "timeout", 0, "end a client's child after this `time`")
	flags.DurationVar(&f.grace, "grace", 10*time.Second, "how long a shutdown waits for clients")
	flags.BoolVar(&f.refuse, "refuse", false, "close further connections, instead of letting them wait")
	flags.StringVar(&f.method, "method", "fork", "by `M`: fork, vfork, spawn or syscall")
	flags.StringVar(&f.dir, "dir", ".", "what go serves")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log each child's start and end")
	return cmd
}

// check finds wrong usage, and fills in what hangs on the mode.
func (f *serveFlags) check(cmd *cobra.Command, args []string) error {
	set := cmd.Flags().Changed
	if f.mode == "" {
		f.mode = "fork"
		if len(args) > 0 {
			f.mode = "exec"
		}
	}
	switch {
	case f.listen == "":
		return usagef("serve: no address to listen on: -l ADDR")
	case f.listen == "unix:":
		return usagef("serve: unix: without a path")
	case f.mode != "fork" && f.mode != "exec" && f.mode != "go" && f.mode != "pool":
		return usagef("serve: no mode %q; there are fork, exec, go and pool", f.mode)
	case (f.mode == "exec") != (len(args) > 0):
		return usagef("serve: mode exec, and no other, takes a CMD")
	case set("max") && f.max < 1:
		return usagef("serve: --max %d is below 1", f.max)
	case f.timeout < 0 || f.grace < 0:
		return usagef("serve: a negative time")
	case f.mode == "pool" && (set("timeout") || set("refuse")):
		return usagef("serve: a pool has no --timeout and no --refuse")
	case f.mode != "exec" && set("method"), f.mode != "go" && set("dir"):
		return usagef("serve: --method is for mode exec, --dir for mode go")
	}
	if !set("max") {
		f.max = 100
		if f.mode == "pool" {
			f.max = 4
		}
	}
	if _, err := rawfork.ParseMethod(f.method); err != nil || f.method == "helper" {
		return usagef("serve: no method %q; there are fork, vfork, spawn and syscall", f.method)
	}
	return nil
}

// service is what Server and Pool have in common.
type service struct {
	check    func() error
	serve    func() error
	shutdown func(context.Context) error
	reload   func()
	counts   func() string
}

func (f *serveFlags) run(args []string) error {
	if f.mode == "go" {
		if err := os.Chdir(f.dir); err != nil { // the children have this directory, too
			return fmt.Errorf("serve: %w", err)
		}
	}
	handler, end, err := f.handler(args)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer end()
	listener, err := f.listener()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer listener.Close()
	status := newStatusLine(os.Stderr)
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	s := f.service(listener, handler, slog.New(slog.NewTextHandler(status, &slog.HandlerOptions{Level: level})))
	if err := s.check(); err != nil {
		return err
	}
	// Before anybody is told, or served, who could send one of them.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	if !signal.Ignored(syscall.SIGINT) { // a shell's background job isn't for Ctrl-C
		signal.Notify(signals, syscall.SIGINT)
	}
	defer signal.Stop(signals)
	if _, err := fmt.Println("listening on", listener.Addr()); err != nil {
		return unwritten(fmt.Errorf("serve: %w", err))
	}
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	stop := status.show(s.counts)
	err = f.untilTold(s, served, signals)
	stop()
	if _, lineErr := fmt.Println(s.counts()); lineErr != nil && err == nil {
		err = unwritten(fmt.Errorf("serve: %w", lineErr))
	}
	return err
}

// listener listens where the user wants.
func (f *serveFlags) listener() (net.Listener, error) {
	if f.listen == "systemd" {
		listeners, err := serve.Inherited()
		if err != nil {
			return nil, err
		}
		for _, more := range listeners[1:] {
			more.Close()
		}
		return listeners[0], nil
	}
	if path, ok := strings.CutPrefix(f.listen, "unix:"); ok {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", f.listen)
}

// handler is what serves in a mode but pool, with what is to be done in the end.
func (f *serveFlags) handler(args []string) (serve.Handler, func(), error) {
	switch f.mode {
	case "exec":
		method, err := rawfork.ParseMethod(f.method)
		return &serve.Program{Path: args[0], Args: args[1:], Method: method}, func() {}, err
	case "go":
		h, err := helper.Start(helper.Options{Ready: 4, EndWithParent: true})
		if err != nil {
			return nil, nil, err
		}
		return serve.Go(h, fileServer), func() { h.Close() }, nil
	}
	return serve.Fork(child.Echo), func() {}, nil
}

func (f *serveFlags) service(listener net.Listener, handler serve.Handler, log *slog.Logger) service {
	if f.mode == "pool" {
		pool := &serve.Pool{Handler: child.Echo, Children: f.max, Log: log}
		return service{
			check:    func() error { return pool.Check(listener) },
			serve:    func() error { return pool.Serve(listener) },
			shutdown: pool.Shutdown,
			reload: func() {
				if err := pool.Reload(); err != nil && !errors.Is(err, serve.ErrServerClosed) {
					log.Error("SIGHUP", "err", err) // the children that there are go on
				}
			},
			counts: func() string { return pool.Counts().String() },
		}
	}
	server := &serve.Server{
		Handler: handler, MaxChildren: f.max, Refuse: f.refuse,
		Deadline: f.timeout, EndWithServer: f.method != rawfork.BySpawn.String(), Log: log,
	}
	return service{
		check:    func() error { return server.Check(listener) },
		serve:    func() error { return server.Serve(listener) },
		shutdown: server.Shutdown,
		reload:   func() { log.Warn("SIGHUP: there is no pool to reload") },
		counts:   func() string { return server.Counts().String() },
	}
}

// untilTold serves until a signal says that it is enough, or the service fails.
func (f *serveFlags) untilTold(s service, served <-chan error, signals <-chan os.Signal) error {
	for {
		select {
		case err := <-served:
			s.shutdown(context.Background())
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				f.finish(s, signals)
				return nil
			}
			s.reload()
		}
	}
}

// finish lets the clients finish, until the grace is over or the user insists.
func (f *serveFlags) finish(s service, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), f.grace)
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.shutdown(ctx) // the counts say what had to be ended
	}()
	for {
		select {
		case <-over:
			return
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				cancel()
			}
		}
	}
}
