// Package quiet tells whether other programs used the machine while something was measured, and measures again what they
// disturbed. It knows so on Linux; elsewhere nothing counts as disturbed. It imports the standard library only.
package quiet
