//go:build cuda && linux && (amd64 || arm64)

package cuda

// LargeShapes are products, m, n and k, for which every card of 108 processors or more picks tiles of 128: the MLP of the 7M
// class over 2048 tokens, the gradient of its weight over 16384, and one with a tail on every side.
var LargeShapes = [][3]int{{2048, 1536, 384}, {384, 1536, 16384}, {2050, 1550, 385}}

// TileOf is the tile that a backend picks for a product.
func TileOf(b *Backend, m, n, k int) int {
	return tilingOf(m, n, k, b.card.processors, b.work.room()).tile
}

// CardOf is a card on paper with the numbers that a backend cuts its work by.
func CardOf(b *Backend) Card {
	c := &b.card
	return Card{Name: c.name, Major: c.major, Minor: c.minor, Processors: c.processors, MaxShared: c.maxShared, Memory: c.memory}
}
