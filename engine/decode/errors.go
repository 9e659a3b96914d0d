package decode

import "errors"

// Errors of what needs text.
var (
	ErrNoTokenizer = errors.New("decode: the model has no tokenizer: its folder holds no tokenizer.json")
	ErrEmptyPrompt = errors.New("the prompt has no tokens: the model needs something to continue")
)
