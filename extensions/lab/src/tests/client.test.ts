import assert from 'node:assert/strict';
import test from 'node:test';
import { Client } from '../client/client.js';
import { Problem } from '../client/problem.js';

const BASE = 'http://host/user/ada/wendelin/api/v1';
const json = (body: object, init: ResponseInit = {}): Response => new Response(JSON.stringify(body), init);

function client(answers: (() => Response)[]): { client: Client; sent: [string, RequestInit][]; pauses: number[] } {
  const sent: [string, RequestInit][] = [];
  const pauses: number[] = [];
  const send = async (url: string, init: RequestInit): Promise<Response> => {
    sent.push([url, init]);
    return answers.shift()!();
  };
  return { client: new Client(send, BASE, async ms => void pauses.push(ms)), sent, pauses };
}

test('links of the server and paths of the API lead to the same place', () => {
  const { client: one } = client([]);
  assert.equal(one.url('/entities', { type: 'plant', state: '' }), `${BASE}/entities?type=plant`);
  assert.equal(one.url('/user/ada/wendelin/api/v1/entities?cursor=a%2Fb'), `${BASE}/entities?cursor=a%2Fb`);
  assert.equal(one.url('/entities', { related: ['a=1', 'b=2'] }), `${BASE}/entities?related=a%3D1&related=b%3D2`);
});

test('reading is tried again with pauses while the server is away, and told in the end', async () => {
  const away = (): Response => new Response('<html>', { status: 503 });
  const good = client([away, away, () => json({ roles: [] })]);
  await good.client.get('/');
  assert.deepEqual(good.pauses, [250, 500]);
  const bad = client([away, away, away, away]);
  await assert.rejects(bad.client.get('/'), (error: Problem) => error.status === 503);
  assert.equal(bad.sent.length, 4);
});

test('what did not change is the same object', async () => {
  const { client: one, sent } = client([
    () => json({ uid: 'a' }, { headers: { ETag: '"1"' } }),
    () => new Response(null, { status: 304 })
  ]);
  const first = await one.get('/entities/a');
  assert.equal(await one.get('/entities/a'), first);
  assert.equal((sent[1]![1].headers as Record<string, string>)['If-None-Match'], '"1"');
});

test('no request asks JupyterLab for its cache-busting parameter, which the door refuses', async () => {
  const { client: one, sent } = client([() => json({}), () => json({})]);
  await one.get('/');
  await one.write({ href: '/entities', method: 'POST' }, {});
  assert.ok(sent.every(([, init]) => init.cache !== undefined && init.cache !== 'no-store'));
});

test('writing is sent once, with the version that was read, and problems keep their fields', async () => {
  const refusal = { type: '/problems/invalid', detail: 'no', errors: [{ where: 'title', message: 'too long' }] };
  const { client: one, sent } = client([() => json(refusal, { status: 422 })]);
  await assert.rejects(one.write({ href: '/entities/a', method: 'PATCH' }, { title: 'x' }, '"1"'), (error: Problem) => {
    return error.kind === 'invalid' && error.errors[0]!.where === 'title';
  });
  const headers = sent[0]![1].headers as Record<string, string>;
  assert.deepEqual([headers['If-Match'], headers['Content-Type']], ['"1"', 'application/merge-patch+json']);
});
