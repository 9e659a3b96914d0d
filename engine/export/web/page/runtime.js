
'use strict';
const $ = id => document.getElementById(id);
const model = JSON.parse($('model').textContent);

const decoded = id => Uint8Array.from(atob($(id).textContent), c => c.charCodeAt(0));

// inflated is null in browsers that cannot inflate: they run the program without SIMD.
async function inflated(bytes) {
  try {
    return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))).arrayBuffer());
  } catch {
    return null;
  }
}

// Lets the page be drawn and clicks be heard.
const channel = new MessageChannel(), waiting = [];
channel.port1.onmessage = () => waiting.shift()();
const pause = () => new Promise(go => { waiting.push(go); channel.port2.postMessage(0); });

// What GPT-2's pattern asks of a character: other, letter, number, space.
const classes = [/\p{L}/u, /\p{N}/u, /\p{White_Space}/u];
const classOf = code => 1 + classes.findIndex(x => x.test(String.fromCodePoint(code)));

// The student of student.c. Addresses are numbers; the image of the model comes first.
class Student {
  async open() {
    const simd = location.hash === '#scalar' ? null : await inflated(decoded('simd')), image = decoded('image');
    this.vector = simd !== null && WebAssembly.validate(simd);
    const { instance } = await WebAssembly.instantiate(this.vector ? simd : decoded('scalar'), { page: { class: classOf } });
    this.c = instance.exports;
    this.end = model.base + image.length;
    this.state = this.room(model.state);
    this.work = this.room(4 * model.vocab);
    this.small = this.room(96); // of a call: how it draws, its generator, a length, a digest
    this.known = this.room(model.vocab + 7 >> 3);
    this.mask = this.room(model.vocab + 7 >> 3);
    this.bytes(model.base, image.length).set(image);
    for (let t = 0; t < model.known; t++) this.bytes(this.known + (t >> 3), 1)[0] |= 1 << (t & 7);
    this.c.student_reset(this.state);
  }

  // room is so many bytes of memory that stay free for their use.
  room(n) {
    const at = this.end + 15 & ~15, memory = this.c.memory;
    this.end = at + n;
    const pages = Math.ceil((this.end - memory.buffer.byteLength) / 65536);
    if (pages > 0) memory.grow(pages);
    return at;
  }

  bytes(at, n) { return new Uint8Array(this.c.memory.buffer, at, n); }
  view(at, n) { return new DataView(this.c.memory.buffer, at, n); }

  // put writes a text behind everything, with a zero, and returns its address.
  put(text) {
    const utf8 = new TextEncoder().encode(text + '\0'), end = this.end, at = this.room(utf8.length);
    this.bytes(at, utf8.length).set(utf8);
    this.end = end;
    return [at, utf8.length - 1];
  }

  encode(text) {
    if (text.includes('\0')) throw new Error('The text holds a zero character.');
    const [at, n] = this.put(text), end = this.end;
    this.end = at + n + 1;
    const tokens = this.room(4 * n + 4);
    this.end = end;
    const count = this.c.student_encode(at, tokens, n);
    if (count < 0) {
      const unknown = [...text].find(c => text.length > c.length && !this.has(c));
      throw new Error('The model has no token for ' + (unknown ? JSON.stringify(unknown) : 'this text') + '.');
    }
    return [...new Int32Array(this.c.memory.buffer, tokens, count)];
  }

  has(text) {
    try {
      return this.encode(text).length >= 0;
    } catch {
      return false;
    }
  }

  piece(token) {
    const at = this.c.student_piece(token, this.small);
    return this.bytes(at, this.view(this.small, 4).getInt32(0, true));
  }

  reset() {
    this.c.student_reset(this.state);
    this.read = 0;
  }

  feed(token) {
    if (this.c.student_feed(this.state, token)) throw new Error('A token is outside of the vocabulary.');
    this.read++;
  }

  // begin sets how tokens are drawn.
  begin(how) {
    const v = this.view(this.small, 32), seed = BigInt(how.seed);
    v.setFloat32(8, how.temperature, true);
    v.setInt32(12, how.topK, true);
    v.setFloat32(16, how.topP, true);
    v.setFloat32(20, how.minP, true);
    v.setUint32(24, Number((seed ^ seed >> 32n) & 0xffffffffn), true);
  }

  draw() {
    const mask = model.known < model.vocab ? this.known : 0;
    const token = this.c.student_sample(this.state, mask, this.small + 8, this.small + 24, this.work);
    if (token < 0) throw new Error('The model gives a result that is no number.');
    return token;
  }

  // digest is SPEC.md's, section 6; seen gets the share that is done.
  async digest(seen) {
    const all = this.c.web_stream(), at = this.small;
    for (let left = all, step = 16; left > 0;) {
      const begun = performance.now();
      left = this.c.web_digest(this.state, this.work, step, at);
      step = Math.max(1, Math.round(step * Math.min(4, 15 / (performance.now() - begun + 0.1))));
      if (left < 0) return '';
      seen(1 - left / all);
      await pause();
    }
    return new TextDecoder().decode(this.bytes(at, 64));
  }

  // choose is the answer that the model takes of some, token by token, each the most probable of those that lead to one.
  choose(prompt, answers) {
    let open = answers.map(answer => ({ answer, tokens: this.encode(answer) }));
    const tokens = this.encode(prompt), mask = this.bytes(this.mask, model.vocab + 7 >> 3);
    this.reset();
    for (const t of tokens) this.feed(t);
    for (let at = 0; ; at++) {
      mask.fill(0);
      for (const { tokens } of open) mask[tokens[at] >> 3] |= 1 << (tokens[at] & 7);
      const token = this.c.student_argmax(this.state, this.mask);
      if (token < 0) throw new Error('This position has no answer.');
      open = open.filter(o => o.tokens[at] === token);
      const whole = open.find(o => o.tokens.length === at + 1);
      if (whole) return whole.answer;
      this.feed(token);
    }
  }
}

const student = new Student();
