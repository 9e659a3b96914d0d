package data

// Example is one prompt with every answer that is equally right. A source
// draws one of the answers each time it visits the example, so that training
// sees all of them; the loss counts the answer only, never the prompt.
type Example struct {
	Prompt  string
	Answers []string
}
