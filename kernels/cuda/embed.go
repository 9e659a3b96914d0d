//go:build cuda

package cuda

import "embed"

//go:embed ptx/*.ptx
var images embed.FS

// Image returns the PTX of a module of the table.
func Image(module string) (string, error) {
	text, err := images.ReadFile("ptx/" + module + ".ptx")
	return string(text), err
}
