'use strict';
const kHour = 3600e3;
// A server that is young shows what there is, not an hour that is mostly empty.
const kSpans = [240e3, 720e3, kHour];
const spanOf = (now, time) => kSpans.find((span) => !time.length || now - time[0] <= span) || kHour;
const $ = (id) => document.getElementById(id);

// ---- Text -----------------------------------------------------------------------------------------------------------------------
function scaled(n, base, units) {
  let i = 0;
  while (Math.abs(n) >= base && i + 1 < units.length) { n /= base; i++; }
  return (n === 0 || Math.abs(n) >= 100 || (i === 0 && Number.isInteger(n)) ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(2)) + units[i];
}
const count = (n) => scaled(n, 1000, ['', ' k', ' M', ' G', ' T']);
const bytes = (n) => scaled(n, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
const percent = (x) => (100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0) + ' %';
function seconds(s) {
  if (s === null || s === undefined) return '–';
  if (s === 0) return '0 s';
  if (s < 1e-3) return scaled(s * 1e6, 1e3, [' µs']);
  if (s < 1) return scaled(s * 1e3, 1e3, [' ms']);
  return s < 120 ? s.toFixed(s < 10 && !Number.isInteger(s) ? 1 : 0) + ' s' : s < 7200 ? (s / 60).toFixed(0) + ' min' : s < 172800 ? (s / 3600).toFixed(0) + ' h' : (s / 86400).toFixed(0) + ' days';
}
const wait = (x) => (x === 0 ? '0 ms' : x < 1 ? scaled(x * 1000, 1e4, [' ms']) : x.toFixed(2) + ' s') + ' a second';
const clock = (ms) => new Date(ms).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false});

// Everything is put in as text, never as HTML: names of metrics are other people's.
function make(tag, attributes = {}, ...children) {
  const svg = tag === 'svg' || tag === 'path';
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
// Pairs of a term and its value; nodes are kept while the terms stay the same, so that nothing moves.
function facts(list, entries) {
  const terms = entries.map((e) => e[0]).join('\n');
  if (list.dataset.terms !== terms) {
    list.dataset.terms = terms;
    list.replaceChildren(...entries.map(([term]) => make('div', term === 'Reason' ? {class: 'long'} : {}, make('dt', {}, term), make('dd'))));
  }
  entries.forEach(([, value], i) => { const dd = list.children[i].lastChild; if (dd.textContent !== value) dd.textContent = value; });
}
function table(node, head, rows) {
  node.replaceChildren(
    make('thead', {}, make('tr', {}, ...head.map((h) => make('th', {scope: 'col'}, h)))),
    make('tbody', {}, ...rows.map((r) => make('tr', {}, make('th', {scope: 'row'}, r[0]), ...r.slice(1).map((c) => make('td', {}, c))))));
}

// ---- Charts ---------------------------------------------------------------------------------------------------------------------
// Lines over the last hour, or less; the pointer, or the arrow keys where it has the focus, read single points.
class Chart {
  constructor(figure, label, lines, text, none) {
    this.lines = lines;  // {name, color, area}
    this.text = text;
    this.none = none;    // what to say where there are points, and no values
    this.at = null;      // index of the point that is read
    this.svg = make('svg', {viewBox: '0 0 1000 100', preserveAspectRatio: 'none', 'aria-hidden': 'true'});
    this.paths = lines.map((line) => make('path', {style: `stroke:var(${line.color})`}));
    this.areas = lines.map((line) => make('path', {class: 'area', style: `fill:var(${line.color})`}));
    this.svg.append(...this.areas, ...this.paths);
    this.most = make('span', {class: 'most'}, '\u00a0');
    this.cursor = make('i', {class: 'cursor', hidden: ''});
    this.empty = make('span', {class: 'empty'}, 'The first point comes within seconds.');
    this.plot = make('div', {class: 'plot', tabindex: '0', role: 'img', 'aria-label': label + '; arrow keys read it point by point'},
      this.svg, this.most, this.cursor, this.empty);
    this.times = make('div', {class: 'times', 'aria-hidden': 'true'}, ...Array.from({length: 5}, () => make('span')));
    this.values = lines.map(() => make('span', {}, '–'));
    this.when = make('span', {class: 'when'}, 'now');
    this.key = make('div', {class: 'key', 'aria-live': 'off'}, this.when,
      ...lines.map((line, i) => make('span', {}, make('i', {style: `background:var(${line.color})`}), line.name + ' ', this.values[i])));
    figure.replaceChildren(this.plot, this.times, this.key);
    this.plot.addEventListener('pointermove', (e) => this.point(e));
    this.plot.addEventListener('pointerleave', () => this.read(null));
    this.plot.addEventListener('blur', () => this.read(null));
    this.plot.addEventListener('keydown', (e) => this.press(e));
  }
  draw(now, time, columns) {
    Object.assign(this, {now, time, columns, span: spanOf(now, past.time)});
    const labels = [1, 0.75, 0.5, 0.25].map((share, i) => '−' + this.span * share / 60e3 + (i === 0 ? ' min' : ''));
    [...labels, 'now'].forEach((label, i) => { const at = this.times.children[i]; if (at.textContent !== label) at.textContent = label; });
    const all = columns.flat().filter((v) => v !== null);
    const most = Math.max(...all, 0);
    const top = most > 0 ? most * 1.05 : 1;
    this.empty.hidden = all.length > 0;
    if (time.length) this.empty.textContent = this.none;
    this.most.textContent = all.length ? this.text(most) : '\u00a0';
    columns.forEach((column, i) => {
      let line = '', area = '', from = null, last = null;
      const close = () => {
        if (from !== null) area += `L${last} 100L${from} 100Z`;
        if (from !== null && from === last) line += 'h0';  // a point alone is a dot
        from = null;
      };
      column.forEach((v, k) => {
        const gap = k > 0 && time[k] - time[k - 1] > 4 * (this.interval || 5000);
        if (v === null || gap) close();
        if (v === null) return;
        const x = this.x(time[k]).toFixed(1), y = (100 - 100 * v / top).toFixed(2);
        line += (from === null ? 'M' : 'L') + x + ' ' + y;
        area += (from === null ? 'M' : 'L') + x + ' ' + y;
        if (from === null) from = x;
        last = x;
      });
      close();
      // Nothing refused is no line.
      this.paths[i].setAttribute('d', this.lines[i].area || column.some((v) => v > 0) ? line : '');
      this.areas[i].setAttribute('d', this.lines[i].area ? area : '');
    });
    this.read(this.at === null ? null : Math.min(this.at, time.length - 1));
  }
  x(t) { return 1000 * (1 - (this.now - t) / this.span); }
  point(e) {
    if (!this.time || !this.time.length) return;
    const box = this.plot.getBoundingClientRect();
    const t = this.now - this.span * (1 - (e.clientX - box.left) / box.width);
    let best = 0;
    this.time.forEach((at, i) => { if (Math.abs(at - t) < Math.abs(this.time[best] - t)) best = i; });
    this.read(best);
  }
  press(e) {
    const n = this.time ? this.time.length : 0;
    const step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60, Home: -n, End: n}[e.key];
    if (e.key === 'Escape') this.read(null);
    if (step === undefined || n === 0) return;
    e.preventDefault();
    this.key.setAttribute('aria-live', 'polite');
    this.read(Math.max(0, Math.min(n - 1, (this.at === null ? n - 1 : this.at) + (this.at === null && Math.abs(step) < n ? 0 : step))));
  }
  read(at) {
    if (!this.time) return;
    this.at = at;
    const i = at === null ? this.time.length - 1 : at;
    this.cursor.hidden = at === null;
    if (at === null) this.key.setAttribute('aria-live', 'off');
    else this.cursor.style.left = this.x(this.time[i]) / 10 + '%';
    this.when.textContent = at === null ? 'now' : clock(this.time[i]);
    this.columns.forEach((column, k) => { this.values[k].textContent = i < 0 || column[i] === null ? '–' : this.text(column[i]); });
  }
}
// The last hour in rows of five minutes, the newest first: the mean of rates, the worst of latencies.
function minutes(node, head, time, columns, text, worst) {
  const rows = new Map();
  time.forEach((t, i) => { const k = Math.floor(t / 300e3); (rows.get(k) || rows.set(k, []).get(k)).push(i); });
  const fold = (values) => !values.length ? '–' : text(worst ? Math.max(...values) : values.reduce((a, b) => a + b) / values.length);
  table(node, ['From', ...head], [...rows].reverse().map(([k, at]) =>
    [clock(k * 300e3), ...columns.map((c) => fold(at.map((i) => c[i]).filter((v) => v !== null)))]));
}

// ---- The strip of shards --------------------------------------------------------------------------------------------------------
const kMeasures = [
  {key: 'writes', name: 'Writes', text: (v) => count(v) + ' samples/s', about: 'Samples a second. One cell that stands out: most writes go to a few series.'},
  {key: 'lock_wait', name: 'Lock wait', text: wait, about: 'Time that threads waited for the shard’s locks, in a second, all together.'},
  {key: 'ring', name: 'Ring depth', text: bytes, about: 'Bytes between writers and the group commit; a full ring makes writers wait.'},
  {key: 'log', name: 'Log bytes', text: bytes, about: 'In the log and not trimmed: what the next start would replay, or what somebody holds.'}];
let measure = kMeasures[0], selected = 0, state = null;
const past = {time: [], samples: [], refused: [], write_p50: [], write_p99: [], select_p99: [], memory: []};
let pastOfShard = null;

const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function luminance(rgb) {
  const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
// The colour of a share, and black or white on it, whichever reads better (4.5:1 at the least).
function heat(share) {
  const style = getComputedStyle(document.documentElement);
  const low = parse(style.getPropertyValue('--low').trim()), high = parse(style.getPropertyValue('--high').trim());
  const mixed = low.map((v, i) => Math.round(v + (high[i] - v) * share));
  return {fill: `rgb(${mixed})`, ink: luminance(mixed) > 0.179 ? '#000' : '#fff'};
}
function stateOf(shard) {
  if (shard.state === 'quarantined') return 'quarantined';
  if (shard.state === 'replaying') return 'replaying' + (shard.replay_expected ? ', ' + percent(shard.replayed / shard.replay_expected) : '');
  return 'serves';
}
function drawStrip() {
  const strip = $('strip'), shards = state.shards;
  if (strip.children.length !== shards.length) {
    strip.replaceChildren(...shards.map((_, i) => {
      const cell = make('div', {role: 'option', id: 'shard-' + i, tabindex: '-1'});
      cell.addEventListener('click', () => select(i, true));
      return cell;
    }));
    selected = Math.min(selected, shards.length - 1);
  }
  const most = Math.max(...shards.map((s) => s[measure.key]), 0);
  $('scale-most').textContent = measure.text(most);
  $('measure-about').textContent = measure.about;
  shards.forEach((shard, i) => {
    const cell = strip.children[i], color = heat(most > 0 ? shard[measure.key] / most : 0);
    cell.className = shard.state;
    cell.style.backgroundColor = color.fill;
    cell.style.color = color.ink;
    cell.textContent = (shard.state === 'quarantined' ? '✕ ' : shard.state === 'replaying' ? '… ' : '') + shard.shard;
    cell.setAttribute('aria-label', `Shard ${shard.shard}: ${measure.text(shard[measure.key])}, ${stateOf(shard)}`);
    cell.title = cell.getAttribute('aria-label');
    cell.setAttribute('aria-selected', i === selected);
    cell.tabIndex = i === selected ? 0 : -1;
  });
  drawShard();
  if (document.querySelector('#shards details').open) drawTable();
}
function drawShard() {
  const shard = state.shards[selected];
  const title = $('shard').firstElementChild, text = `Shard ${shard.shard} ${stateOf(shard)}`;
  if (title.textContent !== text) title.textContent = text;
  const entries = [['Writes', count(shard.writes) + ' samples/s'], ['Lock wait', wait(shard.lock_wait)], ['Ring depth', bytes(shard.ring)],
    ['Log bytes', bytes(shard.log)], ['Series', count(shard.series)], ['Memory of the head', bytes(shard.memory)]];
  if (shard.reason) entries.push(['Reason', shard.reason]);
  if (shard.state === 'replaying') entries.push(['Replay: time left', seconds(shard.replay_seconds_left)]);
  facts($('shard').lastElementChild, entries);
  const column = pastOfShard && pastOfShard.shard === selected ? pastOfShard[measure.key] : [];
  shardChart.lines[0].name = measure.name;
  shardChart.text = measure.text;
  shardChart.draw(state.now_ms, past.time.slice(past.time.length - column.length), [column]);
}
function drawTable() {
  table($('shard-table'), ['Shard', 'State', ...kMeasures.map((m) => m.name), 'Series', 'Samples'], state.shards.map((s) =>
    [String(s.shard), stateOf(s), ...kMeasures.map((m) => m.text(s[m.key])), count(s.series), count(s.samples)]));
}
function select(i, focus) {
  selected = Math.max(0, Math.min(state.shards.length - 1, i));
  drawStrip();
  if (focus) $('strip').children[selected].focus();
  load();
}
$('strip').addEventListener('keydown', (e) => {
  if (!state) return;
  const columns = getComputedStyle($('strip')).gridTemplateColumns.split(' ').length;
  const n = state.shards.length;
  const to = {ArrowRight: selected + 1, ArrowLeft: selected - 1, ArrowDown: selected + columns, ArrowUp: selected - columns, Home: 0, End: n - 1}[e.key];
  if (to === undefined) return;
  e.preventDefault();
  if (to >= 0 && to < n) select(to, true);
});
$('shards').querySelector('details').addEventListener('toggle', () => { if (state) drawTable(); });

// ---- The rest -------------------------------------------------------------------------------------------------------------------
function drawState() {
  const bad = state.shards.filter((s) => s.state === 'quarantined').length, replaying = state.shards.filter((s) => s.state === 'replaying').length;
  const critical = state.warnings.some((w) => w.critical), n = state.shards.length;
  const text = bad ? `${bad} of ${n} shards quarantined` : replaying ? `${n - replaying} of ${n} shards serve` : critical ? 'Needs attention' : `All ${n} shards serve`;
  say(critical ? 'bad' : state.warnings.length ? 'warn' : 'good', text);
  $('about').textContent = `Version ${state.version}, engine ${state.engine}, up for ${seconds((state.now_ms - state.started_ms) / 1000)}`;
  const box = $('warnings'), list = box.lastElementChild, found = JSON.stringify(state.warnings);
  if (list.dataset.found === found) return;
  list.dataset.found = found;
  box.className = 'card ' + (critical ? 'bad' : state.warnings.length ? 'warn' : '');
  list.replaceChildren(...(state.warnings.length ? state.warnings.map((w) =>
    make('li', {class: w.critical ? 'bad' : 'warn'}, make('em', {}, w.critical ? '✕' : '!'), make('b', {}, w.text), make('span', {}, w.advice))) :
    [make('li', {class: 'calm'}, 'Nothing. All shards serve, the log is synced, there is room.')]));
}
function say(kind, text) {
  $('state').className = kind;
  const span = $('state').lastElementChild;
  if (span.textContent !== text) span.textContent = text;
}
const ago = (ms) => ms ? seconds(Math.max(0, state.now_ms - ms) / 1000) + ' ago' : 'none yet';
function drawFigures() {
  const t = state.totals, last = past.time.length - 1;
  const newest = (column) => last < 0 ? null : column[last];
  const disk = state.disks[0];
  facts($('tiles'), [
    ['Samples a second', last < 0 ? '–' : count(newest(past.samples))],
    ['Write p99, logged', seconds(newest(past.write_p99))],
    ['Series', count(t.series)],
    ['Samples taken', count(t.samples)],
    ['Memory of its budget', t.memory.limit ? percent(t.memory.used / t.memory.limit) : '–'],
    ['Log not trimmed', bytes(t.log_bytes)],
    ['Disk free', disk ? bytes(disk.free) : '–'],
    ['Last checkpoint', ago(t.checkpoint.last_ms)]]);
  facts($('storage'), [
    ['Last checkpoint', ago(t.checkpoint.last_ms)], ['Checkpoints since the start', count(t.checkpoint.count)],
    ['One takes (median)', t.checkpoint.count ? seconds(t.checkpoint.p50) : '–'], ['One takes (p99)', t.checkpoint.count ? seconds(t.checkpoint.p99) : '–'],
    ['Files of the store', bytes(t.disk_bytes)], ['A power loss would take', bytes(t.unsynced_bytes)],
    ['Archive behind by', bytes(t.archive_backlog_bytes)], ['The last start replayed for', seconds(t.replay_seconds)],
    ['Scrub', t.scrub.running ? percent(t.scrub.progress) + ' done' : ago(t.scrub.last_ms)],
    ...state.disks.map((d) => ['Free at ' + d.directory, `${bytes(d.free)} of ${bytes(d.total)}`])]);
  facts($('cache'), [
    ['Memory in use', bytes(t.memory.used)], ['Budget', bytes(t.memory.limit)],
    ['Heads', bytes(t.memory.head)], ['Rings', bytes(t.memory.rings)],
    ['Postings cache', bytes(t.cache.bytes)], ['Block cache', bytes(t.cache.block_bytes)],
    ['Postings: hits', t.cache.postings_requests ? percent(t.cache.postings_hits) : '–'],
    ['Labels: hits', t.cache.labels_requests ? percent(t.cache.labels_hits) : '–'],
    ['Select p99', seconds(newest(past.select_p99))], ['Refused since the start', count(t.refused)]]);
  $('updated').textContent = 'As of ' + clock(state.now_ms) + ', every ' + seconds(state.interval_ms / 1000);
}
const perSecond = (v) => count(v) + '/s';
const shardChart = new Chart($('shard-chart'), 'The shard over the last hour', [{name: 'This shard', color: '--a', area: true}], count, '');
const charts = [
  {id: 'ingestion', names: ['samples', 'refused'], text: perSecond, none: '', lines: [{name: 'Appended', color: '--a', area: true}, {name: 'Refused', color: '--d'}]},
  {id: 'latency', names: ['write_p50', 'write_p99'], text: seconds, worst: true, none: 'No write yet.', lines: [{name: 'Median', color: '--b'}, {name: 'p99', color: '--c'}]}];
for (const c of charts) {
  c.chart = new Chart($(c.id), c.id === 'ingestion' ? 'Samples a second over the last hour' : 'Write latency over the last hour', c.lines, c.text, c.none);
  c.details = $(c.id).parentElement.querySelector('details');
  c.details.addEventListener('toggle', () => { if (state) drawCharts(); });
}
function drawCharts() {
  for (const c of charts) {
    const columns = c.names.map((name) => past[name]);
    c.chart.interval = state.interval_ms;
    c.chart.draw(state.now_ms, past.time, columns);
    if (c.details.open) minutes(c.details.querySelector('table'), c.lines.map((l) => l.name), past.time, columns, c.text, c.worst);
  }
}
function bars(node, entries, note) {
  const most = Math.max(...entries.map((e) => e.count), 1);
  node.replaceChildren(make('tbody', {}, ...entries.map((e) =>
    make('tr', {style: `--share:${(70 * e.count / most).toFixed(1)}%`}, make('td', {title: e.name}, e.name), make('td', {}, count(e.count)))),
    ...(note ? [make('tr', {}, make('td', {class: 'note', colspan: '2'}, note))] : [])));
}

// ---- Asking ---------------------------------------------------------------------------------------------------------------------
// History is asked for from where it ends; that of a shard whole, when another shard is looked at.
let asking = false, again = false, timer = 0;
function answered() { document.body.classList.remove('gone'); }
// What is on the page stays, dimmed, and nothing of it is said to be well.
function noAnswer() {
  say('bad', 'No answer from the server; trying again');
  if (document.body.classList.contains('gone')) return;
  document.body.classList.add('gone');
  const box = $('warnings'), list = box.lastElementChild;
  list.dataset.found = '';  // to be drawn anew with the next answer
  box.className = 'card bad';
  list.replaceChildren(make('li', {class: 'bad'}, make('em', {}, '✕'), make('b', {}, 'No answer from the server since ' + clock(Date.now())),
    make('span', {}, (state ? 'What is below is as of ' + clock(state.now_ms) + '. ' : '') + 'Is chronolithd running, and can it be reached? Its log says why it ended.')));
}
async function load() {
  if (asking) { again = true; return; }
  asking = true;
  clearTimeout(timer);
  try {
    const whole = !pastOfShard || pastOfShard.shard !== selected;
    const since = whole || !past.time.length ? 0 : past.time[past.time.length - 1];
    const answer = await fetch(`/api/v1/status/page?since=${since}&shard=${selected}`, {cache: 'no-store'});
    if (!answer.ok) throw new Error('the server answers ' + answer.status);
    state = await answer.json();
    take(state.history, since === 0);
    drawState(); drawStrip(); drawFigures(); drawCharts();
    document.documentElement.dataset.loaded = state.now_ms;
    answered();
  } catch (e) {
    noAnswer();
  }
  asking = false;
  if (again) { again = false; load(); return; }
  timer = setTimeout(load, document.hidden ? 60e3 : state ? Math.min(state.interval_ms, 5000) : 2000);
}
function take(history, whole) {
  const shard = history.shard;
  // A server that was restarted knows nothing of what is here: begin anew with it.
  if (whole) for (const name in past) past[name] = [];
  if (whole || !pastOfShard) pastOfShard = {shard: shard.shard, writes: [], lock_wait: [], ring: [], log: []};
  for (const name in past) past[name].push(...history[name]);
  for (const m of kMeasures) pastOfShard[m.key].push(...shard[m.key]);
  let old = 0;
  while (old < past.time.length && past.time[old] < state.now_ms - kHour) old++;
  for (const name in past) past[name].splice(0, old);
  for (const m of kMeasures) pastOfShard[m.key].splice(0, old);
}
async function loadCardinality() {
  let next = 60e3;
  try {
    const answer = await fetch('/api/v1/status/page/cardinality', {cache: 'no-store'});
    const top = await answer.json();
    if (top.error) { next = 10e3; bars($('metrics'), [], 'Not counted: ' + top.error); bars($('labels'), [], ''); } else {
      const note = !top.complete ? 'There are too many to count all of them; chronolith cardinality does.' : top.partial ? 'Without shards that do not serve.' : '';
      bars($('metrics'), top.metrics, top.metrics.length ? note : 'No series yet.');
      bars($('labels'), top.labels, top.labels.length ? note : 'No labels yet.');
    }
  } catch (e) { next = 10e3; }
  setTimeout(loadCardinality, document.hidden ? 5 * next : next);
}
for (const m of kMeasures) {
  const input = make('input', {type: 'radio', name: 'measure', value: m.key});
  input.checked = m === measure;
  input.addEventListener('change', () => { measure = m; if (state) drawStrip(); });
  $('measures').append(make('label', {}, input, make('span', {}, m.name)));
}
facts($('tiles'), ['Samples a second', 'Write p99, logged', 'Series', 'Samples taken', 'Memory of its budget', 'Log not trimmed', 'Disk free', 'Last checkpoint'].map((t) => [t, '–']));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (state) drawStrip(); });
document.documentElement.classList.add('drawn');
document.addEventListener('visibilitychange', () => { if (!document.hidden) load(); });
load();
loadCardinality();
