
// Opens the model, and lets it be used once it has the digest of the machine that tested it.
async function main() {
  const said = (text, state) => {
    $('proof').textContent = text;
    $('proof').dataset.state = state;
  };
  const many = n => n.toLocaleString('en');
  try {
    await student.open();
  } catch (error) {
    return said('The model cannot be opened here: ' + error.message, 'bad');
  }
  $('facts').textContent = `An INT8 transformer of ${many(model.parameters)} parameters, ${many(model.context)} tokens of context. It runs in this page` +
    `${student.vector ? '' : ', without SIMD'}; nothing is sent or loaded.`;
  if (game) setUpBoard();
  else $('text').open = true;
  const begun = performance.now();
  const digest = await student.digest(share => said(`Checking that this browser computes what was tested: ${Math.round(100 * share)}% …`, 'begun'));
  if (digest !== model.digest) return said(`This browser computes other bits than were tested: the digest is ${digest || 'no number'}, not ${model.digest}. The page is damaged, or the browser is; nothing is run.`, 'bad');
  said(`✓ The same bits as on the machine that tested it, by digest ${digest} (${((performance.now() - begun) / 1000).toFixed(1)} s).`, 'good');
  $('form').onsubmit = writeText;
  $('stop').onclick = () => { stop = true; };
  ready(true);
  if (game) begin(1);
}

main();
