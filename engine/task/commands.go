package task

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"mito/engine/data"
)

// DefaultCommands is the number of prompts that commands draws, of which about a tenth is held out.
const DefaultCommands = 20_000

// maxCommands is the largest number of prompts: about half of those that there are, which are drawn within some seconds.
const maxCommands = 500_000

// newCommands makes the task "commands": what people say to a house, and the action that is meant, of a few words that a
// program can switch pins by. A prompt is drawn in two steps. First a phrasing, which is everything but the room and the number: what is to
// be done, the way to say it, and which of several words of one meaning are taken. Then the room, the number and the polite words
// around it. The test part is a tenth of the phrasings, by a hash, of ways that leave six choices of words or more: none of
// them was ever trained on, in any room, but each of their words was.
// The error is an *OptionError.
func newCommands(o Options) (*Exact, error) {
	n := o.Positions
	if n == 0 {
		n = DefaultCommands
	}
	if n > maxCommands {
		return nil, &OptionError{Task: commandsName, Option: "positions", Got: n, Want: fmt.Sprintf("at most %d", maxCommands)}
	}
	return &Exact{
		name: commandsName, about: aboutCommands,
		set: sync.OnceValue(func() *exactSet { return newExactSet(drawCommands(n, o.Seed), actions()) }),
		notes: []string{
			"Held out are phrasings: ways to say a thing, with their choice of words, that were trained on in no room and with no number.",
		},
	}, nil
}

const aboutCommands = `commands: what people say to a house, and the action that is meant.

An action is a device, a room, a verb and, with some verbs, a number:
    light ROOM on | off | dim N | brighten N | set N     N in percent
    fan   ROOM on | off | up | down | set N              N is a step, 1 to 3
    heat  ROOM on | off | up N | down N | set N          N in degrees
    blind ROOM open | close | set N                      N in percent
    music ROOM play | stop | louder | softer
"a bit" is 10 percent or 1 degree, "a lot" 40 percent or 3 degrees; without such a word it is 20 percent or 2 degrees.`

// drawCommands draws prompts, each of them once.
func drawCommands(n int, seed uint64) []exactPrompt {
	var out []exactPrompt
	seen := make(map[string]bool, n)
	rng := rand.New(rand.NewPCG(seed, 0x636f6d6d616e6473))
	list := phrasings()
	for tries := 0; len(out) < n && tries < 20*n; tries++ {
		p := list[rng.IntN(len(list))]
		prompt, action := p.say(rng)
		if seen[prompt] {
			continue
		}
		seen[prompt] = true
		out = append(out, exactPrompt{Example: data.Example{Prompt: marked(prompt), Answers: []string{action}}, test: p.choices >= heldOutChoices && inTest(p.key())})
	}
	return out
}

// phrasing is a way to say an action, with R where the room stands and N where a number does.
type phrasing struct {
	device, verb string
	numbers      []said // one of which is N; nil where there is none
	text         string
	choices      int // of words that its way leaves
}

// heldOutChoices is how many choices of words a way leaves at least where one of them is held out: what is said in one way only
// cannot be understood by who has never heard it.
const heldOutChoices = 6

// said is a number as an action has it and as people say it.
type said struct{ number, words string }

// key tells phrasings apart, for the split.
func (p *phrasing) key() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s", p.device, p.verb, p.text)
	return h.Sum64()
}

// say draws the room, the number and the polite words.
func (p *phrasing) say(rng *rand.Rand) (prompt, action string) {
	room := rooms[rng.IntN(len(rooms))]
	action = p.device + " " + room + " " + p.verb
	text := strings.ReplaceAll(p.text, "R", room)
	if p.numbers != nil {
		n := p.numbers[rng.IntN(len(p.numbers))]
		action += " " + n.number
		text = strings.TrimSuffix(strings.ReplaceAll(text, "N", n.words), " ")
	}
	return polite[rng.IntN(len(polite))] + text + thanks[rng.IntN(len(thanks))], action
}

var (
	rooms  = []string{"kitchen", "bedroom", "bathroom", "hall", "office", "garage", "attic", "cellar"}
	polite = []string{"", "", "please ", "could you ", "can you ", "hey, ", "i want you to ", "now "}
	thanks = []string{"", "", " please", " now", " for me", ", thanks"}
)

// intent is an action and the ways to say it. In a way, [a|b] stands for a or b, which mean the same.
type intent struct {
	device, verb string
	numbers      []said
	ways         []string
}

var (
	percents = numbers(10, 100, 10, " percent")
	quarters = numbers(25, 75, 25, " percent")
	steps    = numbers(1, 3, 1, "")
	degrees  = numbers(15, 25, 1, " degrees")
	someMore = []said{{"10", "a bit"}, {"10", "a little"}, {"20", ""}, {"40", "a lot"}, {"40", "much"}}
	someHeat = []said{{"1", "a bit"}, {"1", "a little"}, {"2", ""}, {"3", "a lot"}, {"3", "much"}}
)

func numbers(from, to, by int, unit string) (out []said) {
	for n := from; n <= to; n += by {
		out = append(out, said{fmt.Sprint(n), fmt.Sprint(n, unit)})
	}
	return out
}

// intents are all actions but for the room. A way that ends in N has its number at the end, where it may be left out.
func intents() []intent {
	light := "[light|lights|lamp|lamps]"
	heat := "[heating|heat|radiator|heater]"
	blind := "[blind|blinds|shutter|shutters]"
	music := "[music|radio|speaker|song]"
	fan := "[fan|ventilator|air]"
	toggles := func(thing, verb string) []string {
		return []string{
			"[turn|switch|put] " + verb + " the R " + thing, "[turn|switch|put] the R " + thing + " " + verb,
			"[turn|switch|put] " + verb + " the " + thing + " in the R", "[turn|switch|put] the " + thing + " in the R " + verb,
			"R " + thing + " " + verb,
		}
	}
	sets := func(thing string) []string {
		return []string{
			"[set|put|bring] the R " + thing + " [to|at] N", "[set|put|bring] the " + thing + " in the R [to|at] N", "R " + thing + " [to|at] N",
			"[make|have] the R " + thing + " N",
		}
	}
	moves := func(thing, verbs, way string) []string {
		return []string{
			verbs + " the R " + thing + " N", verbs + " the " + thing + " in the R N",
			"[turn|bring|take] the R " + thing + " " + way + " N", "[turn|bring|take] " + way + " the " + thing + " in the R N",
			"[turn|bring|take] the " + thing + " in the R " + way + " N",
		}
	}
	return []intent{
		{"light", "on", nil, append(toggles(light, "on"), "[light up|illuminate] the R", "make it [bright|light] in the R")},
		{"light", "off", nil, append(toggles(light, "off"), "[kill|cut] the R "+light, "make it [dark|black] in the R")},
		{"light", "dim", someMore, append(moves(light, "[dim|darken|lower]", "down"), "[make|have] it darker in the R N")},
		{"light", "brighten", someMore, append(moves(light, "[brighten|raise|lift]", "up"), "[make|have] it brighter in the R N")},
		{"light", "set", percents, sets(light)},
		{"fan", "on", nil, append(toggles(fan, "on"), "[air|ventilate] the R")},
		{"fan", "off", nil, append(toggles(fan, "off"), "[stop|halt] the R "+fan)},
		{"fan", "up", nil, []string{"[speed up|accelerate] the R " + fan, "[make|have] the R " + fan + " faster", "more [air|wind] in the R"}},
		{"fan", "down", nil, []string{"[slow down|throttle] the R " + fan, "[make|have] the R " + fan + " slower", "less [air|wind] in the R"}},
		{"fan", "set", steps, []string{"[set|put|bring] the R " + fan + " to [step|level|speed] N", "R " + fan + " to [step|level|speed] N"}},
		{"heat", "on", nil, append(toggles(heat, "on"), "[start|light] the R "+heat)},
		{"heat", "off", nil, append(toggles(heat, "off"), "[stop|shut down] the R "+heat)},
		{"heat", "up", someHeat, append(moves(heat, "[raise|lift|increase]", "up"), "[make|have] it [warmer|hotter] in the R N")},
		{"heat", "down", someHeat, append(moves(heat, "[reduce|lower|decrease]", "down"), "[make|have] it [colder|cooler] in the R N")},
		{"heat", "set", degrees, append(sets(heat), "[warm|heat] the R to N", "i want N in the R")},
		{"blind", "open", nil, []string{"[open|raise|pull up] the R " + blind, "[open|raise|pull up] the " + blind + " in the R", "R " + blind + " up"}},
		{"blind", "close", nil, []string{"[close|shut|lower] the R " + blind, "[close|shut|lower] the " + blind + " in the R", "R " + blind + " down"}},
		{"blind", "set", quarters, sets(blind)},
		{"music", "play", nil, append(toggles(music, "on"), "[play|start] the R "+music, "[play|start] the "+music+" in the R")},
		{"music", "stop", nil, append(toggles(music, "off"), "[stop|pause|end] the R "+music, "[stop|pause|end] the "+music+" in the R", "silence in the R")},
		{"music", "louder", nil, []string{"[turn|bring] the R " + music + " up", "[turn|bring] up the " + music + " in the R", "[louder|more] " + music + " in the R", "[make|have] the R " + music + " louder"}},
		{"music", "softer", nil, []string{"[turn|bring] the R " + music + " down", "[turn|bring] down the " + music + " in the R", "[softer|less] " + music + " in the R", "[make|have] the R " + music + " softer"}},
	}
}

// phrasings lists all phrasings, in a fixed order.
var phrasings = sync.OnceValue(func() []phrasing {
	var out []phrasing
	for _, in := range intents() {
		for _, way := range in.ways {
			texts := spell(way)
			for _, text := range texts {
				out = append(out, phrasing{in.device, in.verb, in.numbers, text, len(texts)})
			}
		}
	}
	return out
})

// spell lists what a way says, with every choice of its words.
func spell(way string) []string {
	before, rest, found := strings.Cut(way, "[")
	if !found {
		return []string{way}
	}
	words, rest, _ := strings.Cut(rest, "]")
	var out []string
	for _, after := range spell(rest) {
		for word := range strings.SplitSeq(words, "|") {
			out = append(out, before+word+after)
		}
	}
	return out
}

// actions lists every action that there is, in increasing order: the closed set.
func actions() []string {
	var out []string
	for _, in := range intents() {
		for _, room := range rooms {
			action := in.device + " " + room + " " + in.verb
			if in.numbers == nil {
				out = append(out, action)
			}
			for _, n := range in.numbers {
				out = append(out, action+" "+n.number)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
