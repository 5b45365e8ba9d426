// The OpenTelemetry SDK records with every kind of instrument and exports to chronolithd over gRPC, HTTP/protobuf and HTTP/JSON;
// what is stored is what was recorded.
//   NODE_PATH=.../node_modules CHRONOLITHD=... node --test otel_test.cjs
'use strict';
const assert = require('node:assert/strict');
const {spawn} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const {after, before, test} = require('node:test');
const {resourceFromAttributes} = require('@opentelemetry/resources');
const {AggregationType, MeterProvider, PeriodicExportingMetricReader} = require('@opentelemetry/sdk-metrics');

const kExporters = {
  grpc: (at) => new (require('@opentelemetry/exporter-metrics-otlp-grpc').OTLPMetricExporter)({url: `http://${at.grpc}`}),
  proto: (at) => new (require('@opentelemetry/exporter-metrics-otlp-proto').OTLPMetricExporter)({url: at.http}),
  json: (at) => new (require('@opentelemetry/exporter-metrics-otlp-http').OTLPMetricExporter)({url: at.http}),
  gzip: (at) => new (require('@opentelemetry/exporter-metrics-otlp-proto').OTLPMetricExporter)({url: at.http, compression: 'gzip'}),
};

let server, directory;
const at = {};
before(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'chronolith-otel-'));
  server = spawn(process.env.CHRONOLITHD, ['--db', path.join(directory, 'db'), '--listen', '127.0.0.1:0'],
                 {stdio: ['ignore', 'pipe', 'inherit']});
  for await (const line of readline.createInterface({input: server.stdout})) {
    const [, what, where] = line.match(/^(listening|OTLP over gRPC|OTLP over HTTP) on (\S+)/) ?? [];
    if (what === 'listening') at.api = where;
    if (what === 'OTLP over gRPC') at.grpc = where;
    if (what === 'OTLP over HTTP') at.http = where;
    if (at.api && at.grpc && at.http) break;
  }
  assert.ok(at.api && at.grpc && at.http, 'chronolithd says where it listens');
  while ((await fetch(`${at.api}/-/ready`)).status === 503);  // its shards are still being opened
});
after(async () => {
  if (server.exitCode === null) {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    assert.equal(await ended, 0);
  }
  fs.rmSync(directory, {recursive: true});
});

// The stored series of a service: "name{its attributes}" to the line of the export.
async function stored(service) {
  const answer = await fetch(`${at.api}/api/v1/export?match[]=${encodeURIComponent(`{job="shop/${service}"}`)}`);
  assert.equal(answer.status, 200);
  const series = new Map();
  for (const text of (await answer.text()).split('\n').filter(Boolean)) {
    const line = JSON.parse(text);
    const {__name__: name, job, instance, otel_scope_name: scope, otel_scope_version: version, ...rest} = line.metric;
    assert.equal(instance, 'one');
    if (name !== 'target_info') assert.deepEqual([scope, version], ['till', '1.2']);
    series.set(name + JSON.stringify(rest), line);
  }
  return series;
}

for (const [name, exporter] of Object.entries(kExporters)) {
  test(`what is recorded is stored: ${name}`, {timeout: 120_000}, async () => {
    const reader = new PeriodicExportingMetricReader({exporter: exporter(at), exportIntervalMillis: 3_600_000});
    const provider = new MeterProvider({
      readers: [reader],
      resource: resourceFromAttributes({
        'service.namespace': 'shop', 'service.name': name, 'service.instance.id': 'one', 'deployment.environment': 'test',
      }),
      views: [{instrumentName: 'payload', aggregation: {type: AggregationType.EXPONENTIAL_HISTOGRAM}}],
    });
    const meter = provider.getMeter('till', '1.2');
    const requests = meter.createCounter('requests', {unit: '{request}', description: 'Requests taken.'});
    requests.add(2, {method: 'GET'});
    requests.add(3, {method: 'GET'});
    requests.add(7, {method: 'PUT'});
    const queue = meter.createUpDownCounter('queue.length', {unit: '{item}'});
    queue.add(5);
    queue.add(-2);
    const duration = meter.createHistogram('request.duration', {unit: 's', advice: {explicitBucketBoundaries: [0.1, 1]}});
    for (const seconds of [0.05, 0.5, 0.75, 20]) duration.record(seconds);
    const payload = meter.createHistogram('payload', {unit: 'By'});
    for (const bytes of [1, 2, 4, 1000]) payload.record(bytes);
    meter.createGauge('temperature', {unit: 'Cel'}).record(21.5);
    meter.createObservableCounter('disk.io', {unit: 'By'}).addCallback((r) => r.observe(4096, {device: 'sda'}));
    meter.createObservableGauge('cpu.utilization', {unit: '1'}).addCallback((r) => r.observe(0.25));
    meter.createObservableUpDownCounter('pool.size').addCallback((r) => r.observe(12));

    const started = Date.now();
    await provider.forceFlush();
    const series = await stored(name);
    const values = new Map();
    for (const [key, line] of series) {
      if (line.histograms) continue;
      assert.equal(line.values.length, 1, key);
      assert.ok(line.timestamps[0] >= started - 1000 && line.timestamps[0] <= Date.now() + 1000, key);
      values.set(key, line.values[0]);
    }
    assert.deepEqual(Object.fromEntries([...values].sort()), Object.fromEntries(Object.entries({
      'requests_total{"method":"GET"}': 5,
      'requests_total{"method":"PUT"}': 7,
      'queue_length{}': 3,
      'request_duration_seconds_bucket{"le":"0.1"}': 1,
      'request_duration_seconds_bucket{"le":"1"}': 3,
      'request_duration_seconds_bucket{"le":"+Inf"}': 4,
      'request_duration_seconds_count{}': 4,
      'request_duration_seconds_sum{}': 21.3,
      'temperature_celsius{}': 21.5,
      'disk_io_bytes_total{"device":"sda"}': 4096,
      'cpu_utilization_ratio{}': 0.25,
      'pool_size{}': 12,
      'target_info{"deployment_environment":"test"}': 1,
    }).sort()));
    assert.deepEqual(series.get('requests_total{"method":"GET"}').metadata, {type: 'counter', unit: '', help: 'Requests taken.'});
    const {histograms: [native]} = series.get('payload_bytes{}');
    assert.equal(native.count, 4);
    assert.equal(native.sum, 1007);
    // Each value is counted in the bucket that holds it: (base^(i-1), base^i].
    assert.ok(native.schema > 0 && native.schema <= 8, `schema ${native.schema}`);
    assert.equal(native.zero_count ?? 0, 0);
    const buckets = [];
    let index = 0, count = 0, next = 0;
    for (const [offset, length] of native.positive_spans) {
      index += offset;
      for (let i = 0; i < length; ++i, ++index) {
        count += native.positive_deltas[next++];
        for (let k = 0; k < count; ++k) buckets.push(index);
      }
    }
    assert.deepEqual(buckets, [1, 2, 4, 1000].map((bytes) => Math.ceil(Math.log2(bytes) * 2 ** native.schema)));

    requests.add(1, {method: 'GET'});
    await provider.forceFlush();
    assert.deepEqual((await stored(name)).get('requests_total{"method":"GET"}').values, [5, 6]);
    await provider.shutdown();
  });
}
