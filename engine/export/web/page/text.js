
// Continues a text as mito generate does: where the context is full, the model goes on from its last half. write gets the pieces.
async function generate(prompt, how, write, stopped) {
  const tokens = student.encode(prompt);
  if (tokens.length === 0) {
    if (model.eos < 0) throw new Error('Give a beginning: this model cannot begin by itself.');
    tokens.push(model.eos);
  }
  if (tokens.length > model.context) throw new Error(`The beginning has ${tokens.length} tokens; the model reads ${model.context}.`);
  const decoder = new TextDecoder(), begun = performance.now();
  let text = '', slice = begun, made = 0;
  const give = async () => {
    write(text);
    text = '';
    await pause();
    slice = performance.now();
  };
  const restart = async list => {
    student.reset();
    for (const t of list.slice(0, -1)) {
      student.feed(t);
      if (performance.now() - slice > 16) await give();
    }
  };
  student.begin(how);
  await restart(tokens);
  const read = performance.now();
  while (made < how.tokens && !stopped()) {
    if (student.read === model.context) await restart(tokens.slice(-Math.max(1, model.context >> 1)));
    student.feed(tokens[tokens.length - 1]);
    const token = student.draw();
    if (token === model.eos) break;
    tokens.push(token);
    made++;
    text += decoder.decode(student.piece(token), { stream: true });
    if (performance.now() - slice > 16) await give();
  }
  text += decoder.decode();
  await give();
  return { made, rate: made / (performance.now() - read) * 1000 };
}

let writing = false, stop = false;

function settings() {
  const number = id => Number($(id).value);
  return { tokens: number('tokens'), temperature: number('temperature'), topK: number('top-k'), topP: number('top-p'), minP: number('min-p'), seed: $('seed').value };
}

async function writeText(event) {
  event.preventDefault();
  if (writing) return;
  writing = true;
  stop = false;
  const prompt = $('prompt').value, out = $('out'), first = document.createElement('b'), more = document.createTextNode('');
  first.textContent = prompt;
  out.replaceChildren(first, more);
  out.setAttribute('aria-busy', 'true');
  ready(false);
  $('stop').disabled = false;
  $('said').textContent = 'Writing …';
  try {
    const done = await generate(prompt, settings(), text => more.appendData(text), () => stop);
    $('said').textContent = `${done.made} tokens, ${Math.round(done.rate).toLocaleString('en')} a second.`;
  } catch (error) {
    $('said').textContent = error.message;
  }
  out.setAttribute('aria-busy', 'false');
  $('stop').disabled = true;
  ready(true);
  writing = false;
}

// Whether what uses the model can be used.
function ready(on) {
  $('go').disabled = !on;
  for (const b of $('game-buttons').children) b.disabled = !on;
}
