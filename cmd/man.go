//go:build unix

package cmd

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Docs are the manual pages and completion scripts of a package, by file name. They
// are made of what help prints.
func Docs() (map[string][]byte, error) {
	docs := map[string][]byte{"man/leaderrun.1": manual(root(nil, new(int)))}
	for _, word := range words() {
		docs["man/leaderrun-"+word+".1"] = manual(named(word)(nil, new(int)))
	}
	for shell, name := range map[string]string{"bash": "leaderrun.bash", "zsh": "_leaderrun", "fish": "leaderrun.fish"} {
		var script bytes.Buffer
		if err := writeCompletion(&script, shell); err != nil {
			return nil, err
		}
		docs["completions/"+name] = script.Bytes()
	}
	return docs, nil
}

// manual is the page of a command, in the language of man(7).
func manual(c *cobra.Command) []byte {
	var m page
	name := strings.ReplaceAll(called(c), " ", "-")
	m.printf(".TH %s 1 \"\" %s \"User Commands\"\n.nh\n.ad l\n", roff(strings.ToUpper(name)), roff("leaderrun-"+version))
	m.printf(".SH NAME\n%s \\- %s\n", roff(name), roff(lowered(c.Short)))
	m.printf(".SH SYNOPSIS\n.B %s\n%s\n", roff(called(c)), roff(strings.TrimPrefix(c.Use, called(c)+" ")))
	m.section("DESCRIPTION", c.Long)
	m.section("EXAMPLES", c.Example)
	if name == "leaderrun" {
		m.whole()
	} else if own, all := ownFlags(c); len(own) > 0 || all {
		m.printf(".SH OPTIONS\n")
		m.options(own)
		if all && len(own) > 0 {
			m.printf(".PP\n")
		}
		if all {
			m.blocks(takesAll)
		}
	}
	m.printf(".SH SEE ALSO\n%s\n", strings.Join(others(name), ",\n"))
	return m.text.Bytes()
}

// whole is what leaderrun's own page has besides.
func (m *page) whole() {
	head := ".SH COMMANDS\n"
	for _, word := range words() {
		m.printf("%s.TP\n.B leaderrun %s\n%s.\n", head, roff(word), roff(named(word)(nil, new(int)).Short))
		head = ""
	}
	m.section("OPTIONS", untitled(flagsHead))
	run := root(nil, new(int)).Flags()
	for _, group := range flagGroups {
		m.printf(".SS %s\n", roff(group.title))
		m.options(grouped(run, group.flags))
	}
	m.printf(".PP\n")
	m.blocks(flagsFoot)
	for _, t := range topics {
		m.section(strings.ToUpper(strings.ReplaceAll(t.name, "-", " ")), untitled(t.text()))
	}
}

// untitled is a text without its first line.
func untitled(text string) string {
	_, rest, _ := strings.Cut(text, "\n\n")
	return rest
}

// others are the pages beside this one.
func others(name string) (pages []string) {
	if name != "leaderrun" {
		return []string{".BR leaderrun (1)"}
	}
	for _, word := range words() {
		pages = append(pages, ".BR leaderrun\\-"+roff(word)+" (1)")
	}
	return pages
}

// lowered begins with a small letter, as the lines of NAME do.
func lowered(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// A page is a manual page in the making.
type page struct{ text bytes.Buffer }

func (m *page) printf(format string, args ...any) { fmt.Fprintf(&m.text, format, args...) }

func (m *page) section(title, text string) {
	m.printf(".SH %s\n", title)
	m.blocks(text)
}

func (m *page) options(flags []*pflag.Flag) {
	for _, f := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(written(f), "-E, "), " ")
		short := ""
		if f.Shorthand != "" {
			short = "\\fB\\-" + f.Shorthand + "\\fR, "
		}
		m.printf(".TP\n%s\\fB%s\\fR", short, roff(name))
		if value != "" {
			m.printf(" \\fI%s\\fR", roff(value))
		}
		m.printf("\n%s\n", roff(meaning(f)))
	}
}

// blocks writes a text as topics have it: what is indented keeps its lines, an item
// begins with "- ", all else is filled.
func (m *page) blocks(text string) {
	for i, block := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 && !strings.HasPrefix(block, "- ") {
			m.printf(".PP\n")
		}
		switch {
		case strings.HasPrefix(block, "  "):
			m.printf(".nf\n")
			for line := range strings.Lines(block) {
				m.printf("%s\n", roff(strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ")))
			}
			m.printf(".fi\n")
		case strings.HasPrefix(block, "- "):
			for item := range strings.SplitSeq(block[len("- "):], "\n- ") {
				m.printf(".IP \\(bu 2\n%s\n", roff(strings.Join(strings.Fields(item), " ")))
			}
		default:
			m.printf("%s\n", roff(strings.Join(strings.Fields(block), " ")))
		}
	}
}

// roff keeps a line from being read as the formatter's language.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
