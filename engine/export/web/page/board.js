
// A board of model.game: stones that stand in a row or turn others over, or tiles that slide. values[i] lies on cell i: 0 for nothing.
const game = model.game, stones = game && (game.line || game.flips);
let values = [], order = [], been = new Set(), turn = 1, you = 1, over = false, stuck = false, passed = false, moves = 0;
const record = { won: 0, drawn: 0, lost: 0 };
const discs = game && (game.drops || game.flips);
const names = discs ? ['free', 'yours', 'the model\'s'] : ['free', 'X', 'O'];

const cellAt = (row, col) => game.cells.findIndex(c => c.row === row && c.col === col);
const promptOf = () => game.start ? game.start + order.map((cell, i) => game.cells[cell].chars[1 + i % 2]).join('')
  : game.cells.map((c, i) => c.chars[stones && values[i] ? (values[i] === turn ? 1 : 2) : values[i]]).join('') + '=';

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

// The stones that one of a side turns over.
function turned(cell, side) {
  const all = [];
  for (const [down, right] of values[cell] ? [] : [[0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1]]) {
    const line = [];
    let at = cell;
    do {
      line.push(at);
      at = cellAt(game.cells[at].row + down, game.cells[at].col + right);
    } while (at >= 0 && values[at] === 3 - side);
    if (at >= 0 && values[at] === side) all.push(...line.slice(1));
  }
  return all;
}

const canTurn = side => game.cells.some((c, i) => turned(i, side).length > 0);

// Where a stone comes to lie that is put on a cell, -1 for nowhere: cells of a column are listed from the bottom.
const landing = cell => game.flips ? (turned(cell, turn).length ? cell : -1) : game.drops ? game.cells.findIndex((c, i) => c.col === game.cells[cell].col && !values[i]) : values[cell] ? -1 : cell;

// Puts a stone of the side to move, or slides a tile into the gap.
function move(cell) {
  stuck = false;
  passed = false;
  if (game.flips) {
    for (const c of [cell, ...turned(cell, turn)]) values[c] = turn;
    over = !canTurn(1) && !canTurn(2);
    passed = !over && !canTurn(3 - turn);
    if (!passed) turn = 3 - turn;
  } else if (game.line) {
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
  if (stones) return game.cells.findIndex((c, i) => c.chars[0] === answer && landing(i) === i);
  const gap = game.cells[values.indexOf(0)], [down, right] = { U: [-1, 0], D: [1, 0], L: [0, -1], R: [0, 1] }[answer.slice(-1)];
  return cellAt(gap.row + down, gap.col + right);
}

// What the model may answer. In a puzzle it does not enter a board twice, so that it does not walk in circles.
function legalAnswers() {
  if (stones) return [...new Set(game.cells.filter((c, i) => landing(i) >= 0).map(c => c.chars[0]))];
  const fresh = [...'UDLR'].filter(way => {
    const next = [...values], gap = values.indexOf(0), cell = answered(way);
    if (cell < 0) return false;
    [next[gap], next[cell]] = [next[cell], 0];
    return !been.has(next.join());
  });
  return game.left ? fresh.flatMap(way => [...game.left].map(left => left + way)) : fresh;
}

function legal(cell) {
  if (stones) return landing(cell) >= 0;
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
  if (over || $('go').disabled || !legal(cell) || stones && turn !== you) return;
  move(stones ? landing(cell) : cell);
  if (!stones || over || turn === you) return show();
  while (!over && turn !== you) modelMoves();
}

function begin(side) {
  values = game.begin ? [...game.begin] : game.cells.map(() => 0);
  order = [];
  stuck = false;
  you = side;
  turn = 1;
  over = false;
  passed = false;
  moves = 0;
  if (!stones) {
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

// Lets the model slide tiles until the puzzle is solved, at most three times as often as the hardest one needs, and some.
async function solve() {
  ready(false);
  try {
    for (let left = game.limit; left > 0 && !over && !stuck; left--) {
      modelMoves();
      await new Promise(done => setTimeout(done, 150));
    }
  } finally {
    ready(true);
  }
}

// The side that has won, 0 for neither.
function winner() {
  if (game.line) return values[winning()[0]] || 0;
  const lead = values.reduce((sum, v) => sum + [0, 1, -1][v], 0);
  return lead > 0 ? 1 : lead < 0 ? 2 : 0;
}

function verdict() {
  if (!stones) return over ? `Solved in ${moves} moves.` : stuck ? `${moves} moves; the model was on every board that is next.` : `${moves} moves.`;
  if (!over) return (passed ? (turn === you ? 'The model passes. ' : 'You pass. ') : '') + (turn === you ? 'Your move.' : 'The model\'s move.');
  const count = side => values.filter(v => v === side).length, score = game.flips ? `, ${count(you)} to ${count(3 - you)}` : '';
  return (winner() === 0 ? 'Drawn' : winner() === you ? 'You won' : 'The model won') + score + '.';
}

function show() {
  const line = game.line ? winning() : [];
  game.cells.forEach((c, i) => {
    const b = $('cell' + i), v = values[i];
    b.textContent = !stones ? v || '' : !v ? '' : discs ? '●' : names[v];
    b.className = (stones ? ['', 'first', 'second'][v] : '') + (line.includes(i) ? ' line' : '');
    const what = !stones ? v || 'gap' : discs && v ? names[v === you ? 1 : 2] : names[v];
    b.setAttribute('aria-label', `row ${game.drops ? game.rows - c.row : c.row + 1}, column ${c.col + 1}, ${what}`);
    b.setAttribute('aria-disabled', over || !legal(i));
  });
  $('turn').textContent = verdict();
  if (over && stones) {
    record[winner() === 0 ? 'drawn' : winner() === you ? 'won' : 'lost']++;
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
  if (stones) {
    button('You begin', () => begin(1));
    button('The model begins', () => begin(2));
  } else {
    button('Shuffle', () => begin(1));
    button('The model moves', () => over || modelMoves());
    button('The model solves it', solve);
  }
}
