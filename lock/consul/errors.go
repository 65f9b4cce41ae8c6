package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

var errNoAnswer = errors.New("no answer in time")

// Judge implements transport.Conn: it turns what http or api returned into an error
// of the kinds in lock. A conflict is none: only the caller knows what it means.
func (l *line) Judge(ctx context.Context, err error) transport.Verdict {
	keep := func(err error) transport.Verdict { return transport.Verdict{Err: err} }
	drop := func(err error) transport.Verdict { return transport.Verdict{Err: err, Drop: true} }
	var why conflict
	if errors.As(err, &why) {
		return keep(why)
	}
	var answer *answerError
	if errors.As(err, &answer) {
		return transport.Verdict{Err: answer, Drop: answer.elsewhere}
	}
	var fault *transport.Fault
	if errors.As(err, &fault) {
		return drop(fault)
	}
	if cause := ctx.Err(); cause != nil {
		// Silence says nothing of the server, but a connection on which nothing
		// comes back may be a black hole for as long as TCP likes.
		if errors.Is(cause, context.DeadlineExceeded) {
			return drop(l.fault(lock.ErrUnavailable, "%w", errNoAnswer))
		}
		return keep(context.Cause(ctx))
	}
	if transport.KindOf(err) != nil {
		return keep(unwrapURL(err))
	}
	if l.ctx.Err() != nil {
		return drop(l.fault(lock.ErrUnavailable, "%w", errLineClosed))
	}
	if refusal := l.refusal.Load(); refusal != nil {
		return drop(*refusal)
	}
	if !l.dialer.tls && !l.heard.Load() && !isSocket(l.endpoint) && l.dialer.SpeaksTLS(ctx, l.endpoint) {
		return drop(l.dialer.ErrTLS(l.endpoint))
	}
	return drop(l.fault(lock.ErrUnavailable, "%w", unwrapURL(err)))
}

func (l *line) fault(kind error, format string, args ...any) *transport.Fault {
	return transport.NewFault(kind, storeName, l.endpoint, format, args...)
}

// noConsul is about an answer that says nothing in the form of an answer that says
// there is none: it decides nothing.
func (l *line) noConsul() error {
	return l.fault(lock.ErrUnavailable, "does not answer like Consul: see --store")
}

// unwrapURL leaves out method and URL, which say nothing to people.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// An answerError is an answer that says no.
type answerError struct {
	*transport.Fault
	elsewhere bool // another address may answer differently
	passing   bool // if it was all right before, it may be again
}

func (e *answerError) Unwrap() error { return e.Fault }

// mostText bounds what is read of an answer that says no.
const mostText = 4096

// refused reads the answer and says in one line what people have to mend.
func (l *line) refused(path string, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostText))
	_ = resp.Body.Close()
	text := strings.Join(strings.Fields(string(body)), " ")
	no := func(kind error, format string, args ...any) error {
		return &answerError{Fault: l.fault(kind, format, args...)}
	}
	next := func(format string, args ...any) error {
		return &answerError{Fault: l.fault(lock.ErrUnavailable, format, args...), elsewhere: true}
	}
	code := resp.StatusCode
	switch {
	case code == http.StatusForbidden, code == http.StatusInternalServerError && isDenied(text):
		return l.denied(path, text)
	case code == http.StatusUnauthorized:
		return no(lock.ErrDenied, "it asks for a user: see --user and --password-file, or CONSUL_HTTP_AUTH")
	case strings.Contains(text, "HTTP request to an HTTPS server"):
		return &answerError{Fault: l.fault(lock.ErrConfig, "%s", tlsHint(l.dialer.ErrTLS(l.endpoint)))}
	case strings.Contains(text, "Invalid Session TTL"):
		return no(lock.ErrConfig, "%s", badTTL(text))
	case strings.Contains(text, "must be created at server agent"):
		return no(lock.ErrConfig, "a client agent makes no session in another datacenter: leave out ?dc= or name servers in --store")
	case strings.Contains(text, "No path to datacenter"):
		return next("it knows no datacenter %q: see ?dc= in --store", l.dialer.place.datacenter)
	case strings.Contains(text, "Enterprise"):
		return no(lock.ErrConfig, "namespaces and partitions are of Consul Enterprise: leave out ?ns= and ?partition= in --store, and CONSUL_NAMESPACE and CONSUL_PARTITION: %s", text)
	case code == http.StatusRequestEntityTooLarge:
		return no(lock.ErrConfig, "the value is too large (kv_max_value_size and txn_max_req_len in Consul's configuration): %s", text)
	case code == http.StatusBadRequest:
		return no(lock.ErrConfig, "%s", text)
	case code >= 500, code == http.StatusTooManyRequests:
		return next("%s", strings.TrimSuffix(fmt.Sprintf("status %d: %s", code, text), ": "))
	}
	err := l.fault(lock.ErrConfig, "does not answer like Consul: see --store: status %d", code)
	return &answerError{Fault: err, passing: true}
}

func tlsHint(err error) string {
	var f *transport.Fault
	if errors.As(err, &f) {
		return f.Why.Error()
	}
	return err.Error()
}

var ttlRange = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`between \[(\S+)=(\S+)\]`)
})

// badTTL says of a session's TTL what Consul takes.
func badTTL(text string) string {
	if m := ttlRange().FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("it takes a lease (--ttl) from %s (session_ttl_min in Consul's configuration) to %s: set --ttl", m[1], m[2])
	}
	return "--ttl: " + text
}

// mayPass tells of errors that say little of what comes, after everything was all
// right a moment ago: a certificate or token may be about to be replaced in its
// file, or the new one not be known everywhere, a gateway may have lost its agent. A
// rule that a policy lacks is not among them.
func mayPass(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.passing
	}
	var fault *transport.Fault
	return errors.As(err, &fault)
}

// denied names the rule that the token's policy lacks.
func (l *line) denied(path, text string) error {
	source := l.dialer.tokenSource()
	no := func(format string, args ...any) error {
		return &answerError{Fault: l.fault(lock.ErrDenied, format, args...)}
	}
	if strings.Contains(text, "ACL not found") {
		err := l.fault(lock.ErrDenied, "it does not know the ACL token in %s: it was deleted, has expired, or is another cluster's", source)
		return &answerError{Fault: err, passing: true}
	}
	rule := fmt.Sprintf("key_prefix %q { policy = \"write\" }", l.dialer.prefix()+"/")
	if !strings.HasPrefix(path, "/v1/kv/") && path != "/v1/txn" {
		rule = nodeRules
	}
	if source == "" {
		return no("it asks for an ACL token: set --acl-token-file or CONSUL_HTTP_TOKEN_FILE to one whose policy has %s (%s)", rule, text)
	}
	return no("the policy of the ACL token in %s lacks %s (%s)", source, rule, text)
}
