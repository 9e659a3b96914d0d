// muon.cuh finds the matrices of one call of Muon, which updates many: their places
// lie in a table that backend.PlanMuon makes, a row of kMuonColumns ints a matrix.
#pragma once
#include "step.cuh"

enum {
	kMuonOffset,  // where the matrix begins in the flat tensors
	kMuonRows,
	kMuonCols,
	kMuonX,       // where its copies begin in the scratch of matrices
	kMuonGram,    // and its Gram matrices in theirs
	kMuonScale,   // bits of a float: the factor of the learning rate
	kMuonSquare,  // tiles of the lower triangles of the Gram matrices before this one
	kMuonWhole,   // tiles of the matrices before this one
	kMuonColumns,
};

static constexpr int kMuonTile = 64;

// A product of a step of the iteration, and what it is for.
enum { kMuonGramStage, kMuonPolynomialStage, kMuonApplyStage };

// Coefficients of the quintic iteration X <- aX + (bA + cA^2)X, A = XX^T (Jordan 2024).
static constexpr float kMuonA = 3.4445f, kMuonB = -4.7750f, kMuonC = 2.0315f;

// The tile of a block: c [m,n] = alpha·a·b + beta·other from row0 and col0 on, of a symmetric matrix the lower tiles.
struct MuonTile {
	const float *a, *b, *other;
	float* c;
	int m, n, k, row0, col0;
	float alpha, beta;
	bool symmetric;

	// find looks among the matrices from first to last, whose tiles the grid counts.
	DEVICE void find(const int* table, int first, int last, int stage, float* x, float* next, float* gram, float* poly) {
		int column = stage == kMuonApplyStage ? kMuonWhole : kMuonSquare, at = first;
		int tile = blockIdx.x + table[first * kMuonColumns + column];
		while (at + 1 < last && table[(at + 1) * kMuonColumns + column] <= tile) at++;
		const int* t = table + at * kMuonColumns;
		tile -= t[column];
		int rows = t[kMuonRows], cols = t[kMuonCols], side = min(rows, cols);
		x += t[kMuonX];
		gram += t[kMuonGram];
		poly += t[kMuonGram];
		other = nullptr;
		alpha = 1.0f;
		beta = 0.0f;
		symmetric = stage != kMuonApplyStage;
		if (stage == kMuonApplyStage) {
			bool wide = rows <= cols;
			a = wide ? poly : x;
			b = wide ? x : poly;
			c = next + t[kMuonX];
			other = x;
			beta = kMuonA;
			m = rows;
			n = cols;
			k = side;
			int across = (n + kMuonTile - 1) / kMuonTile;
			row0 = tile / across * kMuonTile;
			col0 = tile % across * kMuonTile;
			return;
		}
		m = n = side;
		int row = 0;
		while (tile > row) tile -= ++row;
		row0 = row * kMuonTile;
		col0 = tile * kMuonTile;
		a = b = stage == kMuonGramStage ? x : gram;
		k = stage == kMuonGramStage ? rows + cols - side : side;
		c = stage == kMuonGramStage ? gram : poly;
		if (stage == kMuonPolynomialStage) {
			other = gram;
			alpha = kMuonC;
			beta = kMuonB;
		}
	}

	// store leaves an element of the product at row and column, and its mirror image.
	DEVICE void store(int row, int col, float v) const {
		if (row >= m || col >= n) return;
		size_t at = (size_t)row * n + col;
		v = mul(alpha, v);
		if (other) v = add(v, mul(beta, other[at]));
		c[at] = v;
		if (symmetric && row0 != col0) c[(size_t)col * n + row] = v;
	}
};

#define MUON_PARAMS \
	const int *table, int first, int last, int stage, float *x, float *next, float *gram, float *poly
#define MUON_ARGS table, first, last, stage, x, next, gram, poly
