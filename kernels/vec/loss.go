package vec

// CrossEntropyRow returns the cross-entropy in nats of one row of logits against target with label smoothing
// (Szegedy et al., arXiv:1512.00567), and its gradient. With p = Softmax(logits), u = smoothing/V and c = 1-smoothing:
//
//	loss = LogSumExp(logits) - float32(c*logits[target]) [- float32(u*Sum(logits)) if smoothing > 0]
//	g[i] = float32(p[i] - (i == target ? u+c : u)) * scale
//	dlogits[i] = g[i], or dlogits[i] + g[i] when accumulate is set
//
// logits, dlogits [V]; dlogits may be nil (loss only), or logits when accumulate is not set. The loss is not multiplied by
// scale, which carries the loss mask and the division by the number of tokens. 0 <= target < V.
func CrossEntropyRow(dlogits, logits []float32, target int, smoothing, scale float32, accumulate bool) (loss float32) {
	xt := logits[target]
	u, c := smoothing/float32(len(logits)), 1-smoothing
	var shared float32
	if smoothing > 0 {
		shared = float32(u * sum(logits))
	}
	m := maxOf(logits)
	store := dlogits != nil && !accumulate
	var s float32
	if store {
		dlogits = head(dlogits, len(logits))
		s = expSum(dlogits, logits, 1, m)
	} else {
		s = sumExp(logits, 1, m)
	}
	loss = float32(m+Log1(s)) - float32(c*xt)
	if smoothing > 0 {
		loss -= shared
	}
	if dlogits == nil {
		return loss
	}
	inv := 1 / s
	p := float32(Exp1(xt-m) * inv)
	g := float32(float32(p-float32(u+c)) * scale)
	if store {
		probGrad(dlogits, dlogits, inv, u, scale)
	} else {
		dlogits = head(dlogits, len(logits))
		g += dlogits[target]
		probGradAdd(dlogits, logits, m, inv, u, scale)
	}
	dlogits[target] = g
	return loss
}

// KLRow returns T²·KL(teacher ‖ student) in nats for one row at temperature T (Hinton et al., arXiv:1503.02531) and adds its
// gradient, which keeps its size as T grows because of the T². With z[i] = float32(logits[i]*float32(1/T)),
// q = Softmax(z) and p the teacher's probabilities at the same temperature:
//
//	kl = float32(T*T) * Σ p[i] * (Log1(p[i]) - (z[i] - LogSumExp(z))), stated order, terms with p[i] < 2^-126 left out
//	dlogits[i] = dlogits[i] + float32(q[i]-p[i]) * float32(T*scale)
//
// logits, teacherProbs, dlogits [V]; dlogits may be nil. teacherProbs made by SoftmaxScaled(·, teacher, 1/T) from the
// student's own logits give a gradient of exactly zero. kl is not multiplied by scale.
func KLRow(dlogits, logits, teacherProbs []float32, temperature, scale float32) (kl float32) {
	p := head(teacherProbs, len(logits))
	invT := 1 / temperature
	m, s := maxSumExp(logits, invT)
	kl = float32(float32(temperature*temperature) * klSum(logits, p, invT, m+Log1(s)))
	if dlogits != nil {
		klGradAdd(head(dlogits, len(logits)), logits, p, invT, m, 1/s, float32(temperature*scale))
	}
	return kl
}

// chunk is the number of exponentials that KLTopKRow keeps on the stack; a multiple of eight, so that lanes carry over from one
// chunk to the next.
const chunk = 256

// KLTopKRow is KLRow against a teacher of which only the k probabilities probs at the distinct entries ids and the mass tail of
// all others are known: the divergence between k+1 buckets. With q = e[i]*v as in KLRow (v = 1/S), lse = LogSumExp(z) and
// t = max(R*v, 2^-126), where R is the stated sum of the e[i] with those at ids taken as +0:
//
//	kl = float32(T*T) * (Σ over j of probs[j]*(Log1(probs[j]) - (z[ids[j]]-lse)) + tail*(Log1(tail)-Log1(t)))
//	dlogits[ids[j]] += float32(q-probs[j]) * float32(T*scale)
//	dlogits[i]      += float32(e[i] * float32(float32(v*float32(1-float32(tail/t)))*float32(T*scale)))   for the others
//
// The sum over j ascends, its terms with a probability below 2^-126 left out. logits, dlogits [V]; ids, probs [k];
// dlogits may be nil. 0 <= ids[j] < V. kl is not multiplied by scale.
func KLTopKRow(dlogits, logits []float32, ids []int32, probs []float32, tail, temperature, scale float32) (kl float32) {
	probs = head(probs, len(ids))
	invT := 1 / temperature
	m, s := maxSumExp(logits, invT)
	lse := m + Log1(s)
	inv, g := 1/s, float32(temperature*scale)

	var e [chunk]float32
	var l lanes
	for lo := 0; lo < len(logits); lo += chunk {
		hi := min(lo+chunk, len(logits))
		expOthers(e[:hi-lo], logits[lo:hi], ids, lo, invT, m)
		addLanes(&l, e[:hi-lo])
	}
	t := max(float32(l.total()*inv), minNorm)

	for j, p := range probs {
		if p >= minNorm {
			z := float32(logits[ids[j]] * invT)
			kl += float32(p * float32(Log1(p)-float32(z-lse)))
		}
	}
	if tail >= minNorm {
		kl += float32(tail * float32(Log1(tail)-Log1(t)))
	}
	kl = float32(float32(temperature*temperature) * kl)
	if dlogits == nil {
		return kl
	}

	dlogits = head(dlogits, len(logits))
	c := float32(float32(inv*float32(1-float32(tail/t))) * g)
	for lo := 0; lo < len(logits); lo += chunk {
		hi := min(lo+chunk, len(logits))
		expOthers(e[:hi-lo], logits[lo:hi], ids, lo, invT, m)
		axpy(dlogits[lo:hi], e[:hi-lo], c)
	}
	for j, p := range probs {
		id := ids[j]
		q := float32(Exp1(float32(logits[id]*invT)-m) * inv)
		dlogits[id] += float32(float32(q-p) * g)
	}
	return kl
}

// expOthers is expSum over logits lo.. with the entries at ids set to +0.
func expOthers(e, logits []float32, ids []int32, lo int, scale, shift float32) {
	expSum(e, logits, scale, shift)
	for _, id := range ids {
		if i := int(id) - lo; 0 <= i && i < len(e) {
			e[i] = 0
		}
	}
}

// probGradGeneric sets dst[i] = float32(float32(e[i]*inv)-u)*scale.
func probGradGeneric(dst, e []float32, inv, u, scale float32) {
	e = e[:len(dst)]
	for i, v := range e {
		dst[i] = float32(float32(float32(v*inv)-u) * scale)
	}
}

// probGradAddGeneric adds float32(float32(float32(Exp1(x[i]-shift)*inv)-u)*scale) to dst[i].
func probGradAddGeneric(dst, x []float32, shift, inv, u, scale float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += float32(float32(float32(Exp1(v-shift)*inv)-u) * scale)
	}
}

// klSumGeneric returns the stated sum of float32(p[i]*float32(Log1(p[i])-float32(float32(x[i]*scale)-lse))), terms with
// p[i] < 2^-126 taken as +0.
func klSumGeneric(x, p []float32, scale, lse float32) float32 {
	var l lanes
	klSumLanes(&l, x, p, scale, lse)
	return l.total()
}

func klSumLanes(l *lanes, x, p []float32, scale, lse float32) {
	p = p[:len(x)]
	for i, v := range p {
		if !(v < minNorm) {
			z := float32(x[i] * scale)
			l[i&7] += float32(v * float32(Log1(v)-float32(z-lse)))
		}
	}
}

// klGradAddGeneric adds float32(float32(float32(Exp1(float32(x[i]*scale)-shift)*inv)-p[i])*factor) to dst[i].
func klGradAddGeneric(dst, x, p []float32, scale, shift, inv, factor float32) {
	x, p = x[:len(dst)], p[:len(dst)]
	for i, v := range x {
		e := Exp1(float32(v*scale) - shift)
		dst[i] += float32(float32(float32(e*inv)-p[i]) * factor)
	}
}
