//go:build unix

package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// logQueue writes lines to a descriptor that may be full, broken or a terminal
// that stops background writers, without ever making its caller wait: a line
// that finds the queue full is dropped and counted.
type logQueue struct {
	lines   chan []byte
	done    chan struct{}
	dropped atomic.Int64 // in all
}

func newLogQueue(format string, write func([]byte)) *logQueue {
	q := &logQueue{lines: make(chan []byte, 256), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		defer lockLogThread()()
		said := int64(0)
		for line := range q.lines {
			if line == nil {
				return
			}
			if n := q.dropped.Load(); n > said {
				write(droppedLine(format, n-said))
				said = n
			}
			write(line)
		}
	}()
	return q
}

// Write implements io.Writer for whole lines.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

// flush waits a moment for what is in the queue, and ends it.
func (q *logQueue) flush() {
	late := time.After(200 * time.Millisecond)
	select {
	case q.lines <- nil:
	case <-late:
		return
	}
	select {
	case <-q.done:
	case <-late:
	}
}

// newLogger returns the log of one election.
func newLogger(w io.Writer, format string, level slog.Level, election string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})).With("election", election)
	}
	return slog.New(&textHandler{
		out: w, prefix: fmt.Sprintf("leaderrun[%d] %s: ", os.Getpid(), printable(election)), level: level,
	})
}

// textHandler writes "leaderrun[PID] NAME: message key=value ...", so that its
// lines are told from the child's. Time and level are left to whoever collects
// standard error; warnings and errors say so in words.
type textHandler struct {
	out    io.Writer
	prefix string
	level  slog.Level
	attrs  []slog.Attr
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &with
}

// WithGroup is not used: the keys are flat.
func (h *textHandler) WithGroup(string) slog.Handler { return h }

func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	var b bytes.Buffer
	b.WriteString(h.prefix)
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	}
	b.WriteString(r.Message)
	pairs := slog.NewTextHandler(&pairWriter{&b}, &slog.HandlerOptions{
		Level: h.level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	r = r.Clone()
	r.AddAttrs(h.attrs...)
	if err := pairs.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.Write(b.Bytes())
	return err
}

// pairWriter puts the space before slog's pairs, if there are any.
type pairWriter struct{ b *bytes.Buffer }

func (w *pairWriter) Write(pairs []byte) (int, error) {
	if len(pairs) > 1 {
		w.b.WriteByte(' ')
	}
	return w.b.Write(pairs)
}
