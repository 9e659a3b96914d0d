
// A board of model.game: stones that stand in a row, or tiles that slide. values[i] lies on cell i: 0 for nothing.
const game = model.game;
let values = [], order = [], been = new Set(), turn = 1, you = 1, over = false, stuck = false, moves = 0;
const record = { won: 0, drawn: 0, lost: 0 };
const names = game && game.drops ? ['free', 'yours', 'the model\'s'] : ['free', 'X', 'O'];

const cellAt = (row, col) => game.cells.findIndex(c => c.row === row && c.col === col);
const promptOf = () => game.start ? game.start + order.map((cell, i) => game.cells[cell].chars[1 + i % 2]).join('')
  : game.cells.map((c, i) => c.chars[game.line && values[i] ? (values[i] === turn ? 1 : 2) : values[i]]).join('') + '=';

// The cells of a row of equal stones that wins, or none.
function winning() {
  for (const i of game.cells.keys()) {
    for (const [down, right] of [[0, 1], [1, 0], [1, 1], [1, -1]]) {
      const line = [...Array(game.line).keys()].map(k => cellAt(game.cells[i].row + k * down, game.cells[i].col + k * right));
      if (values[i] && line.every(c => c >= 0 && values[c] === values[i])) return line;
    }
  }
  return [];
}

// Where a stone comes to lie that is put on a cell: cells of a column are listed from the bottom.
const landing = cell => game.drops ? game.cells.findIndex((c, i) => c.col === game.cells[cell].col && !values[i]) : values[cell] ? -1 : cell;

// Puts a stone of the side to move, or slides a tile into the gap.
function move(cell) {
  if (game.line) {
    values[cell] = turn;
    order.push(cell);
    turn = 3 - turn;
    over = winning().length > 0 || !values.includes(0);
  } else {
    const gap = values.indexOf(0);
    [values[gap], values[cell]] = [values[cell], 0];
    been.add(values.join());
    moves++;
    over = values.every((v, i) => v === (i + 1) % values.length);
  }
}

// The cell that an answer means, -1 for none.
function answered(answer) {
  if (game.line) return game.cells.findIndex((c, i) => c.chars[0] === answer && landing(i) === i);
  const gap = game.cells[values.indexOf(0)], [down, right] = { U: [-1, 0], D: [1, 0], L: [0, -1], R: [0, 1] }[answer.slice(-1)];
  return cellAt(gap.row + down, gap.col + right);
}

// What the model may answer. In a puzzle it does not enter a board twice, so that it does not walk in circles.
function legalAnswers() {
  if (game.line) return [...new Set(game.cells.filter((c, i) => landing(i) >= 0).map(c => c.chars[0]))];
  const fresh = [...'UDLR'].filter(way => {
    const next = [...values], gap = values.indexOf(0), cell = answered(way);
    if (cell < 0) return false;
    [next[gap], next[cell]] = [next[cell], 0];
    return !been.has(next.join());
  });
  return game.left ? fresh.flatMap(way => [...game.left].map(left => left + way)) : fresh;
}

function legal(cell) {
  if (game.line) return landing(cell) >= 0;
  const gap = game.cells[values.indexOf(0)], c = game.cells[cell];
  return Math.abs(gap.row - c.row) + Math.abs(gap.col - c.col) === 1;
}

function modelMoves() {
  const answers = legalAnswers();
  stuck = answers.length === 0;
  if (!stuck) move(answered(student.choose(promptOf(), answers)));
  show();
}

function press(cell) {
  if (over || $('go').disabled || !legal(cell) || game.line && turn !== you) return;
  move(game.line ? landing(cell) : cell);
  if (game.line && !over) modelMoves();
  else show();
}

function begin(side) {
  values = game.cells.map(() => 0);
  order = [];
  stuck = false;
  you = side;
  turn = 1;
  over = false;
  moves = 0;
  if (!game.line) {
    values = values.map((_, i) => (i + 1) % game.cells.length);
    for (let i = 0, last = -1; i < 200;) {
      const cell = Math.floor(Math.random() * values.length), gap = values.indexOf(0);
      if (!legal(cell) || cell === last) continue;
      move(cell);
      last = gap;
      i++;
    }
    moves = 0;
    over = false;
    been = new Set([values.join()]);
  } else if (you === 2) return modelMoves();
  show();
}

// Lets the model slide tiles until the puzzle is solved, at most twice as often as the hardest one needs.
async function solve() {
  ready(false);
  for (let left = game.limit; left > 0 && !over && !stuck; left--) {
    modelMoves();
    await new Promise(done => setTimeout(done, 150));
  }
  ready(true);
}

function verdict() {
  if (!game.line) return over ? `Solved in ${moves} moves.` : stuck ? `${moves} moves; the model was on every board that is next.` : `${moves} moves.`;
  const line = winning();
  if (!over) return turn === you ? 'Your move.' : 'The model\'s move.';
  return line.length === 0 ? 'Drawn.' : values[line[0]] === you ? 'You won.' : 'The model won.';
}

function show() {
  const line = game.line ? winning() : [];
  game.cells.forEach((c, i) => {
    const b = $('cell' + i), v = values[i];
    b.textContent = !game.line ? v || '' : !v ? '' : game.drops ? '●' : names[v];
    b.className = (game.line ? ['', 'first', 'second'][v] : '') + (line.includes(i) ? ' line' : '');
    const what = !game.line ? v || 'gap' : game.drops && v ? names[v === you ? 1 : 2] : names[v];
    b.setAttribute('aria-label', `row ${game.drops ? game.rows - c.row : c.row + 1}, column ${c.col + 1}, ${what}`);
    b.setAttribute('aria-disabled', over || !legal(i));
  });
  $('turn').textContent = verdict();
  if (over && game.line && values.some(v => v)) {
    const line = winning();
    record[line.length === 0 ? 'drawn' : values[line[0]] === you ? 'won' : 'lost']++;
    $('record').textContent = `You won ${record.won}, drew ${record.drawn}, lost ${record.lost}.`;
  }
}

function setUpBoard() {
  $('game').hidden = false;
  $('game-name').textContent = game.title;
  const board = $('board'), shown = [...game.cells.keys()].sort((a, b) => game.cells[a].row - game.cells[b].row || game.cells[a].col - game.cells[b].col);
  board.style.setProperty('--cols', game.cols);
  for (const i of shown) {
    const b = document.createElement('button');
    b.id = 'cell' + i;
    b.type = 'button';
    b.onclick = () => press(i);
    board.append(b);
  }
  board.onkeydown = event => { // arrows move between cells
    const at = shown.findIndex(i => $('cell' + i) === event.target);
    const to = at + ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -game.cols, ArrowDown: game.cols }[event.key] || 0);
    if (at < 0 || to === at || !shown[to] && shown[to] !== 0) return;
    event.preventDefault();
    $('cell' + shown[to]).focus();
  };
  const button = (text, act) => {
    const b = document.createElement('button');
    b.textContent = text;
    b.disabled = true;
    b.onclick = act;
    $('game-buttons').append(b);
  };
  if (game.line) {
    button('You begin', () => begin(1));
    button('The model begins', () => begin(2));
  } else {
    button('Shuffle', () => begin(1));
    button('The model moves', () => over || modelMoves());
    button('The model solves it', solve);
  }
}
