// The status page in Debian's Chromium, as its users have it: by mouse, by keyboard, narrow and wide, light and dark.
//   NODE_PATH=.../node_modules PAGE_SERVER=.../page_server CHRONOLITHD=... CHRONOLITH=... [PICTURES=DIR] node --test page_test.cjs
'use strict';
const assert = require('node:assert/strict');
const {execFileSync, spawn} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const {after, before, test} = require('node:test');
const {chromium} = require('playwright-core');

const kMinute = {timeout: 60_000};
const kPictures = process.env.PICTURES;

// The server under test; `say` has it do something and waits until it has.
class Server {
  static async start() {
    const server = new Server();
    server.process = spawn(process.env.PAGE_SERVER, ['--sample-ms', '500'], {stdio: ['pipe', 'pipe', 'inherit']});
    server.lines = readline.createInterface({input: server.process.stdout})[Symbol.asyncIterator]();
    server.url = `http://127.0.0.1:${await server.line()}/`;
    return server;
  }
  async line() {
    const {value, done} = await this.lines.next();
    assert.ok(!done, 'the server ended');
    return value;
  }
  async say(text) {
    this.process.stdin.write(text + '\n');
    assert.equal(await this.line(), 'ok');
  }
  stop() {
    this.process.stdin.end();
    return new Promise((resolve) => this.process.once('exit', resolve));
  }
}

let browser;
before(async () => {
  browser = await chromium.launch({executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'], timeout: 120_000});
});
after(() => browser.close());

// Runs `body` with a server and a page over it (`late`: whose script runs when the rest has been painted); whatever the page says on the console, or asks of others, fails the test.
function onPage(name, options, body) {
  test(name, {timeout: 120_000}, async () => {
    const server = await Server.start();
    const {late, ...rest} = options;
    const context = await browser.newContext(rest);
    const page = await context.newPage();
    const complaints = [], foreign = [];
    page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) complaints.push(m.text()); });
    page.on('pageerror', (e) => complaints.push(String(e)));
    page.on('request', (r) => { if (!r.url().startsWith(server.url) && !r.url().startsWith('data:')) foreign.push(r.url()); });
    await page.addInitScript(() => {
      window.shifted = 0;
      new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifted += e.value; })
        .observe({type: 'layout-shift', buffered: true});
    });
    if (late) await page.route(server.url, async (route) => {
      const answer = await route.fetch(), text = await answer.text(), at = text.lastIndexOf('<script>');
      await route.fulfill({response: answer, body: text.slice(0, at) + '<script type="text/plain" id="late">' + text.slice(at + '<script>'.length)});
    });
    try {
      await server.say('write 3000');
      await page.goto(server.url);
      if (late) await page.evaluate(async () => {
        for (let painted = 0; painted < 3; painted++) await new Promise(requestAnimationFrame);
        document.body.append(Object.assign(document.createElement('script'), {textContent: document.getElementById('late').textContent}));
      });
      await page.waitForFunction(() => document.documentElement.dataset.loaded);
      await body(page, server);
      assert.deepEqual(complaints, []);
      assert.deepEqual(foreign, []);
    } finally {
      await context.close();
      await server.stop();
    }
  });
}
const tile = (page, name) => page.locator('#tiles div', {hasText: name}).locator('dd');
const waitForText = (page, selector, text) =>
  page.waitForFunction(([s, t]) => document.querySelector(s).textContent.includes(t), [selector, text], kMinute);
async function picture(page, name) {
  if (!kPictures) return;
  await page.screenshot({path: path.join(kPictures, name + '.png'), fullPage: true});
}

onPage('shows the store, and follows what is written', {}, async (page, server) => {
  assert.equal(await page.locator('#strip [role=option]').count(), 16);
  assert.equal(await tile(page, 'Series').innerText(), '500');
  assert.equal(await tile(page, 'Samples taken').innerText(), '3.00 k');
  await waitForText(page, '#state', 'All 16 shards serve');
  await waitForText(page, '#metrics', 'metric_0');
  await server.say('write 7000');
  await page.waitForFunction(() => [...document.querySelectorAll('#tiles dd')].some((d) => d.textContent === '10.0 k'), null, kMinute);
  // The rate, and its line, come with the next point.
  await page.waitForFunction(() => document.querySelector('#ingestion path:not(.area)').getAttribute('d').includes('L'), null, kMinute);
});

onPage('is used by keyboard alone', {}, async (page) => {
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Enter');
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.value || document.activeElement.className);
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'writes');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(), 'lock_wait');
  assert.match(await page.locator('#measure-about').innerText(), /locks/);
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'shard-0');
  for (const [key, to] of [['ArrowRight', 1], ['End', 15], ['ArrowRight', 15], ['ArrowLeft', 14], ['Home', 0], ['ArrowLeft', 0]]) {
    await page.keyboard.press(key);
    assert.equal(await focused(), 'shard-' + to, key);
    assert.equal(await page.locator('#strip [aria-selected=true]').getAttribute('id'), 'shard-' + to);
  }
  await page.keyboard.press('ArrowRight');
  assert.match(await page.locator('#shard h3').innerText(), /^Shard 1 serves/);
  // Focus can be seen.
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  await page.keyboard.press('Tab');
  await page.waitForFunction(() => document.querySelector('#shard-chart .empty').hidden, null, kMinute);
  await page.keyboard.press('Home');
  assert.match(await page.locator('#shard-chart .when').innerText(), /^\d\d:\d\d:\d\d$/);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#shard-chart .when').innerText(), 'now');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('#shard-table tbody tr').length === 16, null, kMinute);
});

onPage('has a table for each picture', {}, async (page) => {
  await page.waitForFunction(() => document.querySelector('#ingestion .empty').hidden, null, kMinute);
  for (const summary of await page.locator('summary').all()) await summary.click();
  await page.waitForFunction(() => [...document.querySelectorAll('details table')].every((t) => t.querySelector('tbody tr')), null, kMinute);
  assert.equal(await page.locator('#shard-table tbody tr').count(), 16);
  const sum = await page.locator('#shard-table tbody tr td:nth-child(7)').allInnerTexts();
  assert.equal(sum.map(Number).reduce((a, b) => a + b), 500);
  for (const table of await page.locator('.pair details table').all()) assert.ok(await table.locator('tbody tr').count() >= 1);
});

onPage('says what needs attention, and when it is over', {}, async (page, server) => {
  assert.match(await page.locator('#warnings').innerText(), /Nothing/);
  await server.say('quarantine 5');
  await server.say('replay 9');
  await waitForText(page, '#state', '1 of 16 shards quarantined');
  await waitForText(page, '#warnings', 'still replaying');  // perhaps the page asked between the two
  const text = await page.locator('#warnings').innerText();
  assert.match(text, /Shard 5 is quarantined: data\/000042\.sst: block checksum mismatch <img src=x onerror=alert\(1\)>/);
  assert.match(text, /1 of 16 shards are still replaying the log, for about 42 s more/);
  assert.equal(await page.locator('img').count(), 0);  // text stays text
  assert.match(await page.locator('#shard-5').getAttribute('aria-label'), /quarantined/);
  assert.match(await page.locator('#shard-9').getAttribute('aria-label'), /replaying, 30 %/);
  await page.locator('#shard-5').click();
  await waitForText(page, '#shard', 'block checksum mismatch');
  await picture(page, 'warnings');
  await server.say('heal');
  await waitForText(page, '#state', 'All 16 shards serve');
  await waitForText(page, '#warnings', 'Nothing');
});

test('says that the server is gone, and finds it again', {timeout: 120_000}, async () => {
  const server = await Server.start();
  const page = await browser.newPage();
  await page.goto(server.url);
  await waitForText(page, '#state', 'All 16 shards serve');
  await page.route('**/api/**', (route) => route.abort());
  await waitForText(page, '#state', 'No answer');
  // Nothing contradicts it: no calm word, no green, and figures that are old look so.
  const warnings = page.locator('#warnings');
  assert.match(await warnings.innerText(), /No answer from the server since \d\d:\d\d:\d\d\s+What is below is as of \d\d:\d\d:\d\d\./);
  assert.doesNotMatch(await warnings.innerText(), /Nothing/);
  const color = (selector, property) => page.evaluate(([s, p]) => getComputedStyle(document.querySelector(s))[p], [selector, property]);
  assert.equal(await color('#warnings', 'borderLeftColor'), await color('#state i', 'backgroundColor'));
  assert.ok(Number(await color('#tiles', 'opacity')) < 1 && Number(await color('#shards', 'opacity')) < 1);
  assert.equal(await color('#warnings', 'opacity'), '1');
  await picture(page, 'gone');
  await page.unroute('**/api/**');
  await waitForText(page, '#state', 'All 16 shards serve');
  await waitForText(page, '#warnings', 'Nothing');
  assert.equal(await color('#tiles', 'opacity'), '1');
  await page.close();
  await server.stop();
});

// What no store gets to see: a sample without a metric's name by remote write (snappy, as one literal), and a delta by OTLP.
async function refuse(url) {
  const message = (number, bytes) => Buffer.concat([Buffer.from([number << 3 | 2, bytes.length]), bytes]);
  const label = Buffer.concat([message(1, Buffer.from('job')), message(2, Buffer.from('x'))]);
  const sample = Buffer.from([0x10, 1]);
  const request = message(1, Buffer.concat([message(1, label), message(2, sample)]));
  const written = await fetch(url + '/api/v1/write', {method: 'POST', body: Buffer.concat([Buffer.from([request.length, request.length - 1 << 2]), request]),
    headers: {'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy'}});
  assert.equal(written.status, 400, await written.text());
  const sum = {name: 'delta', sum: {aggregationTemporality: 1, isMonotonic: true, dataPoints: [{timeUnixNano: '1700000000000000000', asInt: '1'}]}};
  const exported = await fetch(url + '/v1/metrics', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({resourceMetrics: [{scopeMetrics: [{metrics: [sum]}]}]})});
  assert.equal((await exported.json()).partialSuccess.rejectedDataPoints, '1');
}

test('is served by chronolithd, over what remote write brings', {timeout: 120_000}, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'chronolith-page-'));
  const server = spawn(process.env.CHRONOLITHD, ['--db', path.join(directory, 'served'), '--listen', '127.0.0.1:0'], {stdio: ['ignore', 'pipe', 'ignore']});
  try {
    const {value} = await readline.createInterface({input: server.stdout})[Symbol.asyncIterator]().next();
    const url = /^listening on (http:\S+)/.exec(value)[1];
    const page = await browser.newPage();
    const complaints = [];
    page.on('console', (m) => { if (m.type() === 'error') complaints.push(m.text()); });
    await page.goto(url);
    await waitForText(page, '#state', 'All 16 shards serve');
    assert.equal(await tile(page, 'Series').innerText(), '0');
    await waitForText(page, '#latency .empty', 'No write yet');
    await waitForText(page, '#labels', 'No labels yet');
    const lines = Array.from({length: 300}, (_, i) => `requests_total{path="/${i}"} ${i} 1700000000000`).join('\n') + '\n';
    const from = path.join(directory, 'from');
    execFileSync(process.env.CHRONOLITH, ['import', '--db', from, '--input-format', 'prometheus', '-'], {input: lines, stdio: ['pipe', 'ignore', 'ignore']});
    execFileSync(process.env.CHRONOLITH, ['replay', '--db', from, '--target', 'remote-write:' + url + '/api/v1/write'], {stdio: 'ignore'});
    await page.waitForFunction(() => [...document.querySelectorAll('#tiles div')].some((d) => /Series/.test(d.textContent) && d.lastChild.textContent === '300'), null, kMinute);
    let refused = 0;
    const warned = (timeout) => page.waitForFunction(() => document.querySelector('#warnings').textContent.includes('items a second are refused'), null, {timeout});
    do {  // the warning stands for one interval, which a slow page may miss
      await refuse(url);
      refused += 2;
    } while (!await warned(10_000).catch(() => false));
    await page.waitForFunction((n) => new RegExp(`Refused since the start\\s*${n}$`, 'm').test(document.querySelector('#cache').innerText), refused, kMinute);
    assert.deepEqual(complaints, []);
    await page.close();
  } finally {
    server.kill('SIGTERM');
    await new Promise((resolve) => server.once('exit', resolve));
    fs.rmSync(directory, {recursive: true});
  }
});

function contrast(a, b) {
  const luminance = (rgb) => rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const still = async (page) => assert.ok(await page.evaluate(() => window.shifted) < 0.02, 'layout shift ' + await page.evaluate(() => window.shifted));
for (const width of [360, 1280]) {
  onPage(`stays where it is though its script is late, ${width} pixels wide`, {late: true, viewport: {width, height: 800}}, async (page) => {
    await waitForText(page, '#metrics', 'metric_0');
    await still(page);
  });
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    onPage(`looks as it should: ${colorScheme}, ${width} pixels wide`, {colorScheme, viewport: {width, height: 800}}, async (page, server) => {
      for (let i = 0; i < 3; i++) {
        await server.say(`write ${1000 * (1 + i)}`);
        const points = await page.evaluate(() => past.time.length);
        await page.waitForFunction((n) => past.time.length > n, points, kMinute);
      }
      await waitForText(page, '#metrics', 'metric_0');
      // Nothing sticks out, nothing has moved, no text is hard to read.
      const wide = await page.evaluate(() => [...document.querySelectorAll('main *')].filter((e) =>
        !e.closest('.wide,svg,.away,.bars') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map((e) => e.outerHTML.slice(0, 120)));
      assert.deepEqual(wide, []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      await still(page);
      const texts = await page.evaluate(() => {
        const rgb = (text) => text.match(/[\d.]+/g).map(Number);
        const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
        const found = [];
        while (walker.nextNode()) {
          const node = walker.currentNode, element = node.parentElement;
          if (!node.textContent.trim() || !element.checkVisibility() || element.closest('.away,noscript,script')) continue;
          let behind = element;
          while (behind.parentElement && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
          found.push([node.textContent.trim().slice(0, 40), rgb(getComputedStyle(element).color).slice(0, 3), rgb(getComputedStyle(behind).backgroundColor).slice(0, 3)]);
        }
        return found;
      });
      assert.ok(texts.length > 60);
      for (const [text, ink, paper] of texts) assert.ok(contrast(ink, paper) >= 4.5, `"${text}": ${ink} on ${paper}: ${contrast(ink, paper).toFixed(2)}`);
      assert.deepEqual(await page.locator('#latency .times span').allInnerTexts(), ['−4 min', '−3', '−2', '−1', 'now']);
      await picture(page, `${colorScheme}-${width}`);
      if (width === 1280) {
        // An hour's worth of points, to see the drawings with something in them.
        await page.waitForFunction(() => {  // no answer that is under way may come in between
          if (asking) return false;
          clearTimeout(timer);
          return asking = true;
        });
        await page.evaluate(() => {
          state.interval_ms = 5000;
          for (const name in past) past[name] = [];
          for (let i = 720; i > 0; i--) {
            past.time.push(state.now_ms - i * 5000);
            past.samples.push(40000 + 12000 * Math.sin(i / 40) + 3000 * Math.sin(i * 1.7));
            past.refused.push(i > 300 && i < 330 ? 4000 : 0);
            past.write_p50.push(0.0008 + 0.0002 * Math.sin(i / 9));
            past.write_p99.push(i % 97 === 0 ? null : 0.004 + 0.002 * Math.abs(Math.sin(i / 33)));
            past.select_p99.push(null);
            past.memory.push(1e8);
          }
          pastOfShard = {shard: 0, writes: past.samples.map((v) => v / 16), lock_wait: past.samples.map(() => 0), ring: past.samples, log: past.samples};
          drawStrip(); drawFigures(); drawCharts();
        });
        assert.equal((await page.locator('#ingestion path:not(.area)').first().getAttribute('d')).match(/M/g).length, 1);
        assert.deepEqual(await page.locator('#latency .times span').allInnerTexts(), ['−60 min', '−45', '−30', '−15', 'now']);
        assert.ok((await page.locator('#latency path:not(.area)').nth(1).getAttribute('d')).match(/M/g).length > 5, 'gaps are gaps');
        await picture(page, `${colorScheme}-hour`);
      }
    });
  }
}
