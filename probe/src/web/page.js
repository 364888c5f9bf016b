'use strict';
// The page promises one thing: what it shows as well is known to be so at this moment. So every verdict goes through mark(),
// which says "unknown" while `blind` holds a sentence that says why nothing is known.

const EVERY = 1000;     // ms between two questions
const PATIENCE = 2500;  // ms that an answer may take
const STALE = 3;        // s that an evaluation may be old when it is served: the verifier's own bound
const OLDEST = 5;       // s that an evaluation may be old when it is looked at
const FEW = 20;         // probes that need no filter; overrides shown
const MOST = 200;       // probes shown of each phase
const RUNS = 48;        // Runs in a history
const OPENED = 4;       // probes whose history is shown at a time

const SHAPES = {
  open: 'good', green: 'good', pass: 'good', closed: 'bad', red: 'bad', fail: 'bad', suspect: 'warn',
  pending: 'wait', waiting: 'wait', progress: 'wait', unknown: 'unsure',
  planned: 'wait', running: 'wait', verifying: 'wait', done: 'good', failed: 'bad', interrupted: 'warn',
  undoing: 'wait', undone: 'warn', 'undo failed': 'bad', moves: 'good', stands: 'bad', behind: 'unsure',
};
const UNDER_WAY = ['running', 'verifying', 'undoing'];
const STUCK = ['failed', 'interrupted', 'undo failed'];

let blind = 'No answer from the verifier yet.';
let trouble = null;           // why the last question was not answered
let last = null;              // the last answer, and when it was asked for
let asking = null;            // the question under way
let next = 0;                 // the timer of the next one
let spoken = '';
const chosen = new Map();     // phases that a person opened or closed
const opened = new Map();     // probes that a person opened, with their history

const byId = (id) => document.getElementById(id);

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== false) node.setAttribute(key, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return node;
}

function icon(shape) {
  const [svg, use] = ['svg', 'use'].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#${shape}`);
  svg.append(use);
  return svg;
}

// The only place where a verdict or colour becomes visible: a shape and a word, and a colour besides.
function mark(word, more) {
  const known = !blind && Object.hasOwn(SHAPES, word) ? word : 'unknown';
  return el('span', { class: `mark ${SHAPES[known]} ${more || ''}` }, icon(SHAPES[known]), el('span', {}, known));
}

// `code` in a next step. The words may come from a hostile reply: they are never parsed as markup.
const prose = (text) => String(text || '').split('`').map((part, at) => (at % 2 ? el('code', {}, part) : part));

// As the verifier words it: the two largest units.
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const units = [[Math.floor(s / 86400), 'd'], [Math.floor(s / 3600) % 24, 'h'], [Math.floor(s / 60) % 60, 'm'], [s % 60, 's']];
  if (!Number.isFinite(seconds)) return 'an unknown time';
  const first = units.findIndex(([count]) => count > 0);
  return first < 0 ? '0s' : units.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => count + unit).join(' ');
}

// Monotonic time stands still while some machines sleep, the wall clock can be set back: the one that went further counts.
const since = (moment) => Math.max(performance.now() - moment.steady, Date.now() - moment.wall, 0) / 1000;
const age = () => last.body.ageSeconds + since(last.at);
const ago = (iso) => span((Date.parse(last.body.evaluatedAt) - Date.parse(iso)) / 1000 + age());

function clock(moment) {
  const at = new Date(moment);
  const time = at.toLocaleTimeString([], { hourCycle: 'h23' });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

const when = (iso, word) => (iso ? el('time', { datetime: iso, title: iso }, `${word} ${clock(iso)} (${ago(iso)} ago)`) : null);
const entry = (term, ...words) => el('div', {}, el('dt', {}, term), el('dd', {}, ...words));
const evidence = (text) => (text ? el('p', { class: 'evidence' }, text) : null);
const todo = (text) => (text ? el('p', { class: 'todo' }, el('b', {}, 'Do: '), ...prose(text)) : null);
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

function stateOf(body) {
  if (body.adopted !== null) return 'adopted';
  if (body.state !== 'active') return body.state;
  return body.switched ? 'switched' : body.switching ? 'switching' : 'active';
}

// What a person came for: what regressed, else the active phase, else the next one.
function focus(phases) {
  const find = (test) => phases.find(test);
  return find((one) => one.regressed.length) || find((one) => one.state === 'active') || find((one) => one.state === 'waiting');
}

const isOpen = (body) => chosen.get(body.name) ?? (body === focus(last.body.phases) || body.state === 'active' || body.regressed.length > 0);

// Where a step stands, as people read it.
const standing = (step) => (step.state ? step.state.replace(/[A-Z]/g, (capital) => ` ${capital.toLowerCase()}`) : 'planned');

// The step that a person wants to know of: what is under way, else what went wrong.
function atHand(steps) {
  const find = (words) => steps.find((step) => words.includes(standing(step)));
  const step = find(UNDER_WAY) || find(STUCK);
  return step && !blind ? el('p', { class: 'step-now' }, `Step ${steps.indexOf(step) + 1} of ${steps.length}: `, el('b', {}, step.name), ' ', mark(standing(step)), ' ',
    step.since ? [when(step.since.at, 'since'), ` by ${step.since.by}`] : null) : null;
}

function steps(body) {
  const all = body.steps || [];
  if (!all.length) return null;
  const row = (step) => {
    const word = standing(step);
    const notes = [step.switch && 'switch', step.ponr && 'point of no return', step.kind === 'manual' && 'by hand', step.kind === 'wait' && 'waits', !step.undo && 'no undo',
      step.attempts > 1 && `attempt ${step.attempts}`].filter(Boolean);
    const time = UNDER_WAY.includes(word) ? `at most ${span(step.timeoutSeconds)}` : word === 'done' && step.tookSeconds !== null ? `took ${span(step.tookSeconds)}` : null;
    return el('li', { class: `step ${blind ? 'unsure' : word === 'planned' ? 'idle' : SHAPES[word] || 'unsure'}`, 'data-key': step.name }, mark(word, word === 'planned' ? 'idle' : ''),
      el('div', {}, el('span', { class: 'name' }, step.name, ' ', notes.map((note) => el('span', { class: `tag ${step.ponr && note === 'point of no return' ? 'exception' : ''}` }, note))),
        step.since ? el('p', { class: 'quiet' }, blind ? `was ${word} ` : '', when(step.since.at, 'since'), ` by ${step.since.by}`, time && !blind ? `, ${time}` : '') : null,
        step.note && word !== 'done' ? evidence(step.note) : null));
  };
  const crossed = body.ponrCrossed;
  return el('div', {}, el('h3', {}, blind ? 'Steps' : `Steps: ${all.filter((step) => step.state === 'done').length} of ${all.length} done`),
    crossed ? el('div', { class: 'notice exception' }, icon('warn'), el('p', {}, el('b', {}, 'Point of no return crossed '), when(crossed.at, 'at'), ` by ${crossed.by}: nothing leads back`)) : null,
    el('ol', { class: 'steps' }, all.map(row)));
}

function lock(one) {
  if (!one) return null;
  const heard = span(one.heardSeconds + since(last.at));
  const state = blind ? '' : one.live ? `; last heard of ${heard} ago` : `; not heard of for ${heard}: it has expired`;
  return el('div', { class: 'notice lock' }, icon('wait'), el('p', {}, el('b', {}, `Lock ${one.id}: `), `${one.holder} ${blind ? 'held' : 'holds'} it for phase ${one.phase}, on ${one.place}, `,
    when(one.since, 'since'), state));
}

function now(body) {
  const at = focus(body.phases);
  const shut = body.phases.find((one) => one.verdict !== 'open');
  const word = at ? (at.state === 'waiting' ? 'waiting' : at.verdict) : (shut || { verdict: 'open' }).verdict;
  const about = at ? [`Phase ${body.phases.indexOf(at) + 1} of ${body.phases.length}: `, el('b', {}, at.name)] : ['All phases complete'];
  const reason = at ? at.reason : (shut || { reason: 'every gate is still open' }).reason;
  return el('div', { class: `now ${blind ? 'unsure' : SHAPES[word] || 'unsure'}` }, mark(word, 'big'),
    el('div', {}, el('h2', {}, ...about), blind ? null : el('p', { class: 'reason' }, reason), at ? atHand(at.steps || []) : null,
      el('p', { class: 'todo' }, el('b', {}, 'Next: '), ...(blind ? ['get the verifier to answer again. Until then nothing is known, and no gate counts as open.'] : prose(body.nextStep)))));
}

function notices(body) {
  const troubles = [['The ledger can not be written', body.ledgerError], ['The newest document was not taken', body.configError]];
  return [
    ...troubles.filter(([, cause]) => cause).map(([what, cause]) => el('div', { class: 'notice bad' }, icon('bad'), el('p', {}, el('b', {}, `${what}: `), cause))),
    ...[lock(body.lock)].filter(Boolean),
    ...body.overrides.slice(0, FEW).map((one) => el('div', { class: 'notice exception' }, icon('warn'), el('p', {}, el('b', {}, `Override ${one.id}: `),
      `probe ${one.probe} does not count for ${span(one.remainingSeconds - since(last.at))} more, by ${one.by}: ${one.reason}`))),
    ...(body.overrides.length > FEW ? [el('p', { class: 'notice exception' }, `and ${plural(body.overrides.length - FEW, 'more override')}`)] : []),
  ];
}

function soak(body) {
  const { need, have, samplesNeed, samplesHave } = body.soak;
  if (blind || body.state !== 'active' || !body.switched) return null;
  const bar = (label, value, max, words) => el('div', { class: 'meter' }, el('span', {}, label), el('span', {}, words),
    el('progress', { value: Math.min(value, max), max: Math.max(max, 1), 'aria-label': `${label}: ${words}` }));
  return el('div', { class: 'soak' }, need > 0 ? bar('Soak', have, need, `${span(have)} of ${span(need)}${have < need ? `, ${span(Math.ceil(need - have))} to go` : ', served'}`) : null,
    bar('Passes', samplesHave, samplesNeed, `${samplesHave} of ${samplesNeed} needed`));
}

function blockers(body) {
  const soaking = body.blockers.filter((one) => one.state === null && one.reason === 'soaking');
  const others = body.blockers.filter((one) => !soaking.includes(one));
  const more = body.blockedBy - body.blockers.length;
  return el('div', { class: 'blockers' },
    others.length ? el('h3', {}, blind ? 'In the way before that' : `In the way: ${plural(body.blockedBy - soaking.length, 'blocker')}`) : null,
    others.map((one) => el('article', { class: `blocker ${blind ? 'unsure' : SHAPES[one.state || one.verdict] || 'unsure'}`, 'data-key': `${one.probe}/${one.reason}` },
      el('header', {}, mark(one.state || one.verdict), el('b', {}, one.probe ? `${one.probe}` : `phase ${one.phase}`),
        one.phase === body.name ? null : el('span', { class: 'tag' }, `of phase ${one.phase}`), el('code', {}, one.reason), when(one.since, 'since')),
      evidence(one.evidence), todo(one.next))),
    soaking.length && !blind ? el('ul', { class: 'soaking' }, soaking.slice(0, 5).map((one) => el('li', {}, el('b', {}, one.probe), ` ${one.evidence}`)),
      soaking.length > 5 ? el('li', {}, `and ${soaking.length - 5} more that soak`) : null) : null,
    more > 0 ? el('p', { class: 'quiet' }, `and ${plural(more, 'more blocker')}`) : null);
}

const alike = (a, b) => a.outcome === b.outcome && a.reason === b.reason && a.evidence === b.evidence;

function history(probe) {
  const runs = opened.get(probe.name).runs;
  if (!runs) return el('p', { class: 'quiet' }, 'asking for the last runs …');
  const [counts, told] = [new Map(), []];
  for (const run of runs) {
    counts.set(run.outcome, (counts.get(run.outcome) || 0) + 1);
    const same = told.at(-1);
    if (same && alike(same.run, run)) Object.assign(same, { first: run.started, times: same.times + 1 });
    else told.push({ run, first: run.started, times: 1 });
  }
  const words = runs.length ? `last ${plural(runs.length, 'run')}, oldest first: ${[...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ')}` : 'no run yet';
  const strip = el('div', { class: 'strip', role: 'img', 'aria-label': words }, [...runs].reverse().map((run) => el('i',
    { class: SHAPES[run.outcome] || 'unsure', title: `${clock(run.started)} ${run.outcome} ${run.reason || ''}` }, icon(SHAPES[run.outcome] || 'unsure'))));
  const failed = told.filter((one) => one.run.outcome !== 'pass').slice(0, 5);
  return el('div', {}, strip, el('p', { class: 'quiet' }, words), el('ul', { class: 'runs' }, failed.map(({ run, first, times }) => el('li', {}, mark(run.outcome),
    el('span', { class: 'quiet' }, times > 1 ? `${times} times, ${clock(first)} to ${clock(run.started)} ` : `${clock(run.started)} `),
    el('code', {}, run.reason || ''), el('span', {}, ` ${run.evidence}`)))));
}

// The way that lines take, hop by hop, with the one that is broken.
function trails(probe) {
  const hop = ({ name, state, words }) => el('li', { class: state, title: words }, el('b', {}, name), mark(state));
  return (probe.trails || []).map(({ part, hops }) => {
    const broken = hops.find((one) => one.state === 'stands');
    return el('div', { class: 'trail' }, el('ol', { 'aria-label': `the way of ${part}${broken ? `: ${broken.name} stands still` : ''}` }, el('li', { class: 'whose' }, part), hops.map(hop)));
  });
}

function details(probe) {
  const { samplesHave, samplesNeed, have, need } = probe.soak;
  return el('div', { class: 'details' }, probe.state === 'green' ? evidence(probe.evidence) : null, todo(probe.next), el('dl', {},
    entry('negative control', probe.control), entry('fails in a row', probe.consecutiveFailures),
    entry('in this state', when(probe.since, 'since') || 'never'), entry('last run', when(probe.lastRun, 'at') || 'never'), entry('last pass', when(probe.lastPass, 'at') || 'never'),
    probe.gate ? entry('soak', `${span(have)} of ${span(need)}, ${samplesHave} of ${samplesNeed} passes`) : null),
  probe.parts.length ? el('ul', { class: 'runs' }, probe.parts.map((part) => el('li', {}, mark(part.outcome), el('b', {}, part.part), ' ', el('code', {}, part.reason || ''), el('span', {}, ` ${part.evidence}`)))) : null,
  probe.state === 'green' ? trails(probe) : null, history(probe));
}

function row(probe) {
  const notes = [!probe.gate && 'not in the gate', probe.preflight && 'preflight', probe.proof && 'proof', probe.retired && 'retired', probe.overridden && 'overridden',
    probe.control !== 'trusted' && !probe.proof && `control ${probe.control}`].filter(Boolean);
  const bad = probe.state !== 'green';
  return el('li', { class: `probe${probe.retired ? ' retired' : ''}`, 'data-key': probe.name },
    el('button', { type: 'button', 'data-probe': probe.name, 'aria-expanded': String(opened.has(probe.name)) }, mark(probe.state),
      el('span', { class: 'name' }, `${probe.name} `, el('span', { class: 'check' }, probe.check), notes.map((note) => el('span', { class: `tag ${note === 'overridden' ? 'exception' : ''}` }, note))),
      el('span', { class: 'seen' }, bad && probe.reason ? el('code', {}, probe.reason) : null, bad ? ` ${probe.evidence}` : null),
      el('span', { class: 'pass' }, probe.lastPass ? `passed ${ago(probe.lastPass)} ago` : 'never passed')),
    bad && !blind ? trails(probe) : null, opened.has(probe.name) && !blind ? details(probe) : null);
}

function phase(body, at) {
  const open = isOpen(body);
  const idle = body.state === 'waiting';
  const state = stateOf(body);
  const counts = ['red', 'unknown', 'suspect', 'waiting', 'green'].filter((colour) => body.probes[colour] > 0);
  const stamp = body.complete || body.switched || body.switching || body.begun;
  const probes = last.body.probes.filter((probe) => probe.phase === body.name);
  const left = (last.body.leftOut || {})[body.name] || 0;
  const searched = byId('find').value.trim();
  const regressed = body.regressed.map((one) => el('div', { class: 'notice bad' }, icon('bad'), el('div', {},
    el('p', {}, el('b', {}, 'Regression: '), `probe ${one.probe} of this complete phase went red, `, when(one.since, 'at'), ' ', el('code', {}, one.reason)), evidence(one.evidence),
    todo(`mend it and say \`cutover regression ack ${body.name} --reason …\`${body.canRollBack ? `, or roll back: \`cutover rollback ${body.name} --reason …\`` : ''}`))));
  return el('section', { class: `phase ${blind || idle ? 'idle' : SHAPES[body.verdict] || 'unsure'}`, 'data-key': body.name },
    el('h2', {}, el('button', { type: 'button', 'data-phase': body.name, 'aria-expanded': String(open) },
      el('span', { class: 'number' }, at + 1), el('span', { class: 'title' }, body.name),
      el('span', { class: `state ${state}` }, blind ? `was ${state}` : state), body.overridden && !blind ? el('span', { class: 'tag exception' }, 'with overrides') : null,
      el('span', { class: 'gate' }, 'gate', mark(body.verdict, idle ? 'idle' : '')),
      open || blind ? null : el('span', { class: 'reason' }, body.reason))),
    regressed,
    open ? el('div', { class: 'body' },
      el('div', {}, el('p', { class: 'quiet' }, stamp ? [`${state} `, when(stamp.at, 'since'), ` by ${stamp.by}`] : 'not begun', body.adopted ? `: ${body.adopted}` : ''),
        steps(body), soak(body), blind || body.blockers.length ? null : el('p', {}, body.reason), blind && body.verdict === 'open' ? null : blockers(body)),
      el('div', {}, el('h3', { class: 'counts' }, 'Probes', blind ? null : counts.map((colour) => el('span', {}, `${body.probes[colour]} `, mark(colour)))),
        el('ul', { class: 'probes' }, probes.map(row)),
        left ? el('p', { class: 'quiet' }, `${left} more are not shown; the filter finds them`) : null,
        probes.length ? null : el('p', { class: 'quiet' }, searched ? 'no probe matches the filter' : 'asking for the probes …'))) : null);
}

// Brings a part of the page up to date in place, so that focus, selection and scrolling survive the next second.
function morph(into, fresh) {
  const kept = new Map([...into.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  let at = into.firstChild;
  for (const node of fresh) {
    const key = node.dataset?.key;
    const old = key ? kept.get(key) : at;
    kept.delete(key);
    if (!old || old.nodeName !== node.nodeName || old.dataset?.key !== key) {
      into.insertBefore(node, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else into.insertBefore(old, at);
    if (node.nodeType === Node.TEXT_NODE) {
      if (old.data !== node.data) old.data = node.data;
      continue;
    }
    for (const { name } of [...old.attributes]) if (!node.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of node.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morph(old, [...node.childNodes]);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function draw() {
  const body = last && last.body;
  const shut = byId('alarm');
  shut.hidden = !blind;
  morph(shut, blind ? [el('p', {}, icon('warn'), el('span', {}, blind, last && since(last.at) >= 1 ? el('span', { 'aria-hidden': true }, ` (${span(since(last.at))})`) : null,
    `${blind.endsWith('.') ? '' : '.'} ${trouble ? `${trouble}. ` : ''}Nothing here counts as open.`))] : []);
  const at = body && (focus(body.phases) || { name: 'all complete', verdict: body.phases.every((one) => one.verdict === 'open') ? 'open' : 'not all open' });
  document.title = `${blind ? '?' : `${at.verdict}: ${at.name} –`} phasegate ${body ? body.migration : ''}`;
  const words = blind ? '' : body.phases.map((one) => `${one.name} ${one.verdict}`).join(', ');
  if (words !== spoken) byId('spoken').textContent = words && `Gates: ${words}`;
  spoken = words;
  if (!body) return;
  const probes = body.phases.flatMap((one) => Object.values(one.probes)).reduce((sum, count) => sum + count, 0);
  byId('tools').hidden = probes < FEW && !byId('find').value;
  byId('migration').textContent = body.migration;
  morph(byId('meta'), [entry('evaluated', blind ? 'unknown' : `${age().toFixed(1)}s ago`), entry('epoch', body.epoch), entry('document', el('code', { title: body.configHash }, body.configHash.slice(0, 8))), entry('version', body.version)]);
  morph(byId('now'), [now(body)]);
  morph(byId('notices'), notices(body));
  morph(byId('phases'), body.phases.map(phase));
}

function reasonToDoubt() {
  if (document.hidden) return 'This page was not looked at; the verifier has to be asked again.';
  if (!last) return 'No answer from the verifier yet.';
  return trouble || age() > OLDEST ? `No answer from the verifier since ${clock(last.at.wall)}` : null;
}

function render() {
  blind = reasonToDoubt();
  const root = document.documentElement;
  try {
    draw();
  } catch (error) {
    root.className = 'lost';
    // An answer that can not be shown is none, and is not kept: the next one may be better.
    [last, trouble] = [null, `It answers, but that can not be shown: ${error.message}`];
    blind = reasonToDoubt();
    for (const id of ['migration', 'meta', 'now', 'notices', 'phases']) byId(id).replaceChildren();
    draw();
  }
  root.className = blind ? 'lost' : '';
}

function question() {
  const open = last ? last.body.phases.filter(isOpen).map((one) => one.name) : [];
  return new URLSearchParams({ most: MOST, phases: open.join(','), find: byId('find').value.trim() }).toString();
}

const get = (path, signal) => fetch(path, { cache: 'no-store', redirect: 'error', signal });

// Throws unless there is a whole and recent answer.
async function answer(path, signal) {
  const response = await get(path, signal).catch(() => { throw new Error('It can not be reached'); });
  const body = await response.json().catch(() => { throw new Error('What answers there does not speak JSON'); });
  if (!response.ok) throw new Error(`It answers, but: ${body?.message || `status ${response.status}`}`);
  if (!Array.isArray(body?.phases) || !Array.isArray(body.probes)) throw new Error('What answers there is no verifier');
  if (!(Number.isFinite(body.ageSeconds) && body.ageSeconds >= 0 && body.ageSeconds <= STALE)) throw new Error(`It answers, but its last evaluation is ${span(body.ageSeconds)} old`);
  return body;
}

async function poll() {
  clearTimeout(next);
  if (asking) asking.abort();
  asking = null;
  if (document.hidden) return;
  const mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort(), PATIENCE);
  const at = { steady: performance.now(), wall: Date.now() };
  const asked = question();
  let failure = null;
  const body = await answer(`v1/status?${asked}`, mine.signal).catch((error) => { failure = error.message; });
  clearTimeout(late);
  if (asking !== mine) return;
  trouble = failure && mine.signal.aborted ? `It did not answer within ${PATIENCE / 1000} s` : failure;
  if (!failure) last = { body, at };
  render();
  if (!blind) histories();
  next = setTimeout(poll, failure || question() === asked ? Math.max(0, EVERY - since(at) * 1000) : 0);
}

// The last Runs of the probes that are opened, once per Run.
function histories() {
  for (const [name, had] of opened) {
    const probe = last.body.probes.find((one) => one.name === name);
    if (!probe || had.asking || had.lastRun === probe.lastRun) continue;
    had.asking = true;
    get(`v1/probes/${encodeURIComponent(name)}/runs?most=${RUNS}&parts=false`, AbortSignal.timeout(PATIENCE))
      .then((response) => response.json())
      .then((body) => Object.assign(had, { runs: body.runs || [], lastRun: probe.lastRun }))
      .catch(() => null)
      .finally(() => { had.asking = false; render(); });
  }
}

function toggle(event) {
  const button = event.target.closest('button');
  if (!button || !last) return;
  const { phase: name, probe } = button.dataset;
  if (name) chosen.set(name, button.getAttribute('aria-expanded') === 'false');
  else if (!opened.delete(probe)) opened.set(probe, { runs: null });
  if (opened.size > OPENED) opened.delete(opened.keys().next().value);
  render();
  poll();
}

function wake() {
  render();
  poll();
}

byId('zone').textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
byId('phases').addEventListener('click', toggle);
byId('find').addEventListener('input', poll);
byId('tools').addEventListener('submit', (event) => event.preventDefault());
for (const event of ['visibilitychange', 'resume', 'freeze']) document.addEventListener(event, wake);
for (const event of ['pageshow', 'online', 'focus']) window.addEventListener(event, wake);
setInterval(render, EVERY);
