package decode

import (
	"errors"
	"fmt"

	"mito/engine/session"
)

// Errors that sessions wrap, whatever the runtime.
var (
	ErrToken       = session.ErrToken
	ErrContextFull = session.ErrContextFull
	ErrSequence    = session.ErrSequence
	ErrNotFinite   = session.ErrNotFinite
)

// Errors of what needs text.
var (
	ErrNoTokenizer = errors.New("the model has no tokenizer: its folder holds no tokenizer.json")
	ErrEmptyPrompt = errors.New("the prompt has no tokens: the model needs something to continue")
)

// ErrLogits is what reading logits of NaN or infinity fails with. It is an ErrNotFinite.
var ErrLogits = fmt.Errorf("the model's logits are NaN or infinite: %w", ErrNotFinite)
