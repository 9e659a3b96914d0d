//go:build cuda

package main

import _ "mito/backend/cuda"
